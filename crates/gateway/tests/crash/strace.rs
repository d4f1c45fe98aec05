//! Kills at a system call of one's choice: `strace` attached to the gateway while it runs. The program under test knows
//! nothing of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Before which system call of one thread the power goes, counted from the moment of attaching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A write in the middle of a transaction, which is torn.
    Write(u32),
    /// The sync of a transaction: it is written, and nobody has been told.
    Sync(u32),
    /// The way to the crew: all is written, and no byte has left.
    Connect(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, when) = match self {
            Self::Write(when) => ("pwrite64", when),
            Self::Sync(when) => ("fsync,fdatasync", when),
            Self::Connect(when) => ("connect", when),
        };
        write!(f, "inject={calls}:signal=SIGKILL:when={when}")
    }
}

/// A process that is being watched.
pub(crate) struct Strace {
    child: Child,
    trace: PathBuf,
}

impl Strace {
    /// Whether there is one. Absent: said loudly, and a failure where everything is required.
    pub(crate) fn is_there() -> bool {
        let there = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
        if !there {
            assert!(std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(), "strace is required and not there");
            // Past the test harness's capture: a skipped test must be seen.
            let _ =
                writeln!(std::io::stderr(), "!!! NOT TESTED: kills at system calls, for strace is not there");
        }
        there
    }

    /// Attaches to this process with all its threads, and returns when each is watched.
    pub(crate) fn attach(process: u32, fault: Option<Fault>, trace: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-e", "trace=fsync,fdatasync,pwrite64,connect"]);
        if let Some(fault) = fault {
            command.args(["-e", &fault.to_string()]);
        }
        command.arg("-o").arg(trace).args(["-p", &process.to_string()]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let attached = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("attached")));
        assert!(attached.is_some(), "strace did not attach to {process}");
        // It goes on to say things nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, trace: trace.to_owned() }
    }

    /// Lets go of the process, if it still is: everything it called.
    pub(crate) fn detach(mut self) -> Calls {
        let _ =
            Command::new("kill").args(["-INT", &self.child.id().to_string()]).stderr(Stdio::null()).status();
        self.child.wait().unwrap();
        Calls(fs::read_to_string(&self.trace).unwrap())
    }
}

/// What a watched process called.
pub(crate) struct Calls(String);

impl Calls {
    /// Whether the power went.
    pub(crate) fn killed(&self) -> bool {
        self.0.contains("killed by SIGKILL")
    }

    /// Where the power can go on the same way: at every sync, in the middle of the writes before each, and on
    /// the way out.
    pub(crate) fn faults(&self) -> BTreeSet<Fault> {
        // As strace counts: each thread by itself.
        let mut counts: BTreeMap<&str, [u32; 4]> = BTreeMap::new();
        let mut faults = BTreeSet::new();
        for line in self.0.lines().filter(|line| !line.contains("resumed>")) {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let [written, writes, syncs, connects] = counts.entry(thread).or_default();
            let call = call.trim_start();
            if call.starts_with("pwrite64(") {
                *writes += 1;
            } else if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
                *syncs += 1;
                // In the middle, for the pages of one transaction are not always as many.
                faults.extend((*writes > *written).then_some(Fault::Write((*written + *writes).div_ceil(2))));
                *written = *writes;
                faults.insert(Fault::Sync(*syncs));
            } else if call.starts_with("connect(") {
                *connects += 1;
                faults.insert(Fault::Connect(*connects));
            }
        }
        faults
    }
}
