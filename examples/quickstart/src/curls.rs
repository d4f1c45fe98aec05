//! Prints a ready `curl` for every step, and serves.

use crewgate_gateway::Signals;

use crate::house::{House, Result};

pub(crate) async fn serve() -> Result<()> {
    let house = House::open().await?;
    let (data, console, idp, folder) =
        (house.data(), house.console(), house.idp.url(), house.folder.display());
    let key = house.reports.key();
    println!(
        r#"Crewgate is running: crews at {data}, approvals at {console}, files in {folder}

# tokens of the development identity provider (short-lived: ask again when one has expired)
token() {{ curl -s {idp}/token "$@" | sed 's/.*"access_token":"//;s/".*//'; }}
ALICE=$(token -d subject=alice -d groups=analysts)
BOB=$(token -d subject=bob -d groups=analysts)
CAROL=$(token -d subject=carol)
DORA=$(token -d subject=dora -d groups=data-owners)

# no token: 401
curl -i {data}/support/inputs

# an allowed run, and its masked result
RUN=$(curl -s {data}/support/kickoff -H "authorization: Bearer $ALICE" -H 'content-type: application/json' -d '{{"inputs":{{"topic":"churn"}}}}' | sed 's/.*:"//;s/".*//')
curl -s {data}/support/status/$RUN -H "authorization: Bearer $ALICE"

# a restricted dataset: 403 with the rule and its reason
curl -s {data}/support/kickoff -H "authorization: Bearer $ALICE" -H 'content-type: application/json' -d '{{"inputs":{{"topic":"churn","dataset":"restricted-2026"}}}}'

# somebody else's run: 404; a role that ended yesterday: 403
curl -s {data}/support/status/$RUN -H "authorization: Bearer $BOB"
curl -s {data}/support/inputs -H "authorization: Bearer $CAROL"

# a risky job gets a ticket and waits; a data owner decides with her own token
TICKET=$(curl -s {data}/payroll/kickoff -H "authorization: Bearer $ALICE" -H 'content-type: application/json' -d '{{"inputs":{{"employee_id":"E-2001"}}}}' | sed 's/.*:"//;s/".*//')
curl -s {data}/payroll/status/$TICKET -H "authorization: Bearer $ALICE"
CREWGATE_TOKEN=$DORA cargo run -q -p crewgate-gateway -- approvals list --console {console}
CREWGATE_TOKEN=$DORA cargo run -q -p crewgate-gateway -- approvals approve <ID> --console {console}
curl -s {data}/payroll/status/$TICKET -H "authorization: Bearer $ALICE"

# the way over: a crew in observe mode, called with its old shared key, and the report
curl -i {data}/reports/kickoff -H 'authorization: Bearer {key}' -H 'content-type: application/json' -d '{{"inputs":{{"topic":"sales"}}}}'
cargo run -q -p crewgate-gateway -- audit transition --config {folder}/crewgate.toml

# the record
cargo run -q -p crewgate-gateway -- runs replay $RUN --config {folder}/crewgate.toml
cargo run -q -p crewgate-gateway -- audit verify --config {folder}/crewgate.toml

Ctrl-C ends it."#
    );
    let (running, folder) = (house.running, house.folder);
    running.until_told(Signals::listen()?).await;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
