//! A disk that takes no more and a disk that fails, under the whole program: what its callers and CrewAI get to see.
//! The faults are libfiu's, in the calls of the bundled SQLite.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod real;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crewgate_testkit::{DevIdp, Script, ScriptedCrew};
use real::{CREW_KEY, Folder, Gateway, Http, text, until};
use serde_json::json;

const POLICY: &str = r#"
@id("analysts-run-crews")
permit(principal in Role::"analysts", action, resource);
"#;

/// Where libfiu's parts are. Absent: said loudly, and a failure where everything is required.
fn fiu() -> Option<PathBuf> {
    let found = std::env::var_os("CREWGATE_REAL_FIU").map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(), "CREWGATE_REAL_FIU is not set");
        eprintln!("!!! NOT TRIED: faults of the disk under the program, for CREWGATE_REAL_FIU is not set");
    }
    found
}

/// A gateway whose disk fails on command, and what stands around it.
struct World {
    crew: ScriptedCrew,
    folder: Folder,
    alice: Http,
    _idp: DevIdp,
}

impl World {
    async fn new() -> Self {
        let idp = DevIdp::start().await.unwrap();
        let crew = ScriptedCrew::start_with(Script::new().key(CREW_KEY)).await.unwrap();
        let configuration = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n[policy]\npath = \"policy/\"\n\
             [store]\nurl = \"sqlite:crewgate.db\"\n\
             [[issuer]]\nname = \"idp\"\nurl = \"{}\"\naudience = [\"crewgate\"]\ngroups = \"groups\"\n\
             [[crew]]\nname = \"plain\"\nurl = \"{}\"\ncredential = {{ env = \"CREW_KEY\" }}\n\
             inputs.topic = {{ type = \"text\" }}\n\
             [[role]]\nname = \"analysts\"\ngroups = [\"idp:analysts\"]\n",
            idp.url(),
            crew.url()
        );
        let folder = Folder::new(&configuration, POLICY);
        let alice = Http::with(idp.token().subject("alice").groups(["analysts"]).audience("crewgate").sign());
        Self { crew, folder, alice, _idp: idp }
    }

    fn start(&self, fiu: &Path) -> Gateway {
        let parts = ["fiu_run_preload.so", "fiu_posix_preload.so"].map(|name| fiu.join(name));
        let preload = parts.map(|part| part.display().to_string()).join(" ");
        let control = self.folder.file("fiu").display().to_string();
        Gateway::start_with(&self.folder, &[("LD_PRELOAD", &preload), ("FIU_CTRL_FIFO", &control)])
    }

    /// From now on, this call fails this way.
    fn fail(&self, gateway: &Gateway, point: &str, errno: u32) {
        let control = self.folder.file("fiu");
        let done = Command::new("fiu-ctrl")
            .arg("-f")
            .arg(control)
            .args(["-c", &format!("enable name={point},failinfo={errno}"), &gateway.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success(), "the fault could not be armed");
    }

    async fn kickoff(&self, gateway: &Gateway, topic: &str) -> (u16, String) {
        let body = json!({ "inputs": { "topic": topic } });
        let answer = self.alice.try_post(&format!("{}/plain/kickoff", gateway.data), &body).await.unwrap();
        let code = if answer.status == 200 { String::new() } else { text(&answer.json(), "code").to_owned() };
        (answer.status.as_u16(), code)
    }
}

/// A call goes well, the disk breaks, and the next call is refused before anything left; the process ends, says why, and
/// the next one serves from a record in which nothing is missing.
async fn the_disk_breaks(point: &str, errno: u32, said: &str) {
    let Some(fiu) = fiu() else { return };
    let world = World::new().await;
    let gateway = world.start(&fiu);
    assert_eq!(world.kickoff(&gateway, "before").await, (200, String::new()));
    let kept = world.folder.file("kept.checkpoint");
    let note = world.folder.ask(&["audit", "checkpoint"]);
    std::fs::write(&kept, text(&note, "checkpoint")).unwrap();

    world.fail(&gateway, point, errno);
    assert_eq!(world.kickoff(&gateway, "while").await, (503, "audit_unavailable".to_owned()));
    assert_eq!(world.crew.kickoffs().len(), 1, "something left that is not on the record");
    let log = until("the end of the process", Duration::from_secs(30), async || {
        let log = gateway.log();
        log.contains("poisoned").then_some(log)
    })
    .await;
    assert!(log.contains(said), "the fault was never injected:\n{log}");
    assert!(!gateway.ended().success(), "it must not look as if it had been asked to end");

    let gateway = world.start(&fiu);
    assert_eq!(world.kickoff(&gateway, "after").await, (200, String::new()));
    assert_eq!(world.crew.kickoffs().len(), 2);
    assert!(gateway.stop().success());
    let kept = kept.display().to_string();
    world.folder.ask(&["audit", "verify", "--since", &kept]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_503_and_nothing_is_sent() {
    the_disk_breaks("posix/io/rw/pwrite", 28, "disk is full").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_fsync_that_fails_is_503_and_nothing_is_sent() {
    the_disk_breaks("posix/io/sync/fsync", 5, "disk I/O error").await;
}
