//! Everything the quickstart starts, in a folder of its own.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crewgate_gateway::{Gateway, Running, config::Settings};
use crewgate_testkit::{DevIdp, Script, ScriptedCrew};

pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The identity provider, the crews, the gateway, and where its files are.
pub(crate) struct House {
    pub(crate) idp: DevIdp,
    pub(crate) support: ScriptedCrew,
    pub(crate) payroll: ScriptedCrew,
    pub(crate) reports: ScriptedCrew,
    pub(crate) running: Running,
    pub(crate) folder: PathBuf,
}

impl House {
    pub(crate) async fn open() -> Result<Self> {
        let idp = DevIdp::start().await?;
        let support = ScriptedCrew::start().await?;
        let payroll = ScriptedCrew::start_with(Script::new().inputs(["employee_id"])).await?;
        let reports = ScriptedCrew::start().await?;
        let folder = std::env::temp_dir().join(format!("crewgate-quickstart-{}", std::process::id()));
        fs::create_dir_all(folder.join("policy"))?;
        for (name, crew) in [("support", &support), ("payroll", &payroll), ("reports", &reports)] {
            fs::write(folder.join(format!("{name}.key")), crew.key())?;
        }
        fs::write(folder.join("policy").join("crews.cedar"), POLICY)?;
        let file = folder.join("crewgate.toml");
        fs::write(&file, config(&idp, &support, &payroll, &reports))?;
        let running = Gateway::start(Settings::load(&file)?).await?;
        Ok(Self { idp, support, payroll, reports, running, folder })
    }

    /// Where crews are called.
    pub(crate) fn data(&self) -> String {
        format!("http://{}", self.running.data())
    }

    /// Where approvers decide.
    pub(crate) fn console(&self) -> String {
        self.running.console().map(|address| format!("http://{address}")).unwrap_or_default()
    }

    pub(crate) fn database(folder: &Path) -> PathBuf {
        folder.join("crewgate.db")
    }
}

/// A calendar date, this many days from today (UTC).
fn date(days: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = i64::try_from(now.as_secs()).unwrap_or(0) + days * 86_400;
    // Days to civil date, H. Hinnant's algorithm.
    let days = then.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn config(idp: &DevIdp, support: &ScriptedCrew, payroll: &ScriptedCrew, reports: &ScriptedCrew) -> String {
    let (yesterday, soon) = (date(-1), date(30));
    let (idp, support, payroll, reports) = (idp.url(), support.url(), payroll.url(), reports.url());
    format!(
        r#"[gateway]
listen = "127.0.0.1:0"

[console]
listen = "127.0.0.1:0"

[ops]
listen = "127.0.0.1:0"

[[issuer]]
name = "dev"
url = "{idp}"
audience = ["crewgate"]

[[crew]]
name = "support"
url = "{support}"
credential = {{ file = "support.key" }}
fleet = ["customer"]
inputs.topic = {{ type = "string" }}
inputs.dataset = {{ type = "string", dataset = true }}

[[crew]]
name = "payroll"
url = "{payroll}"
credential = {{ file = "payroll.key" }}
fleet = ["hr"]
inputs.employee_id = {{ type = "string" }}

[[crew]]                                  # on its way over: decided and recorded, not yet enforced
name = "reports"
url = "{reports}"
credential = {{ file = "reports.key" }}
inputs.topic = {{ type = "string" }}
mode = "observe"
until = "{soon}"
dangerously_accept_shared_key = {{ file = "reports.key", until = "{soon}" }}

[[role]]
name = "analysts"
groups = ["dev:analysts"]

[[role]]
name = "contractors"
subjects = ["dev:carol"]
until = "{yesterday}"

[[role]]
name = "data-owners"
groups = ["dev:data-owners"]

[[approvers]]
name = "data-owners"
roles = ["data-owners"]
need = 1

[policy]
path = "policy"

[store]
url = "sqlite:crewgate.db"
"#
    )
}

const POLICY: &str = r#"// Who may.
@id("analysts-and-contractors-support")
permit (
  principal,
  action in [Action::"inputs", Action::"kickoff", Action::"status"],
  resource == Crew::"support"
)
when { principal in Role::"analysts" || principal in Role::"contractors" };

@id("analysts-payroll")
permit (
  principal in Role::"analysts",
  action in [Action::"kickoff", Action::"status"],
  resource == Crew::"payroll"
);

// Never, unless.
@id("restricted-datasets")
@reason("restricted datasets are not for crews: ask the data office for an extract")
forbid (principal, action == Action::"kickoff", resource == Crew::"support")
when { context.input has dataset && context.input.dataset like "restricted-*" };

@id("payroll-needs-a-data-owner")
@approval("data-owners")
forbid (principal, action == Action::"kickoff", resource in Fleet::"hr");

@id("answers-are-masked")
@mask("pii-basic")
forbid (principal, action in Action::"read", resource);
"#;

/// How long a step may take before it counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
