//! The pages in a real Chromium, before a real OpenID provider: log in, see what waits, approve it, log out, and be logged
//! out by the provider.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use std::time::Duration;

use crewgate_testkit::{Script, ScriptedCrew};
use real::{Browser, CHROMIUM, CREW_KEY, Folder, Gateway, Http, IDP, Idp, free_port, parts, text, until};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("analysts-run-crews")
permit(principal in Role::"analysts", action in [Action::"inputs", Action::"kickoff", Action::"status"], resource);
@id("kickoffs-need-a-data-owner")
@approval("data-owners")
forbid(principal, action == Action::"kickoff", resource);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_approves_in_a_browser_and_is_logged_out_by_the_provider() {
    let Some([node, chromium]) = parts([IDP, CHROMIUM]) else { return };
    let console = format!("http://127.0.0.1:{}", free_port());
    let idp = Idp::start_for(&node, &console);
    let crew = ScriptedCrew::start_with(Script::new().key(CREW_KEY).inputs(["topic"])).await.unwrap();
    let folder = Folder::new(
        &format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"{}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n\
             [console.login]\nissuer = \"idp\"\nclient_id = \"console\"\nclient_secret = {{ file = \"console.key\" }}\n\
             scopes = [\"groups\"]\n[policy]\npath = \"policy/\"\n[store]\nurl = \"sqlite:crewgate.db\"\n\
             [[issuer]]\nname = \"idp\"\nurl = \"{}\"\naudience = [\"crewgate\"]\n\
             [[crew]]\nname = \"support\"\nurl = \"{}\"\ncredential = {{ env = \"CREW_KEY\" }}\n\
             inputs.topic = {{ type = \"text\" }}\n\
             [[role]]\nname = \"analysts\"\ngroups = [\"idp:analysts\"]\n\
             [[role]]\nname = \"data-owners\"\ngroups = [\"idp:hr-data-owners\"]\n\
             [[approvers]]\nname = \"data-owners\"\nroles = [\"data-owners\"]\nneed = 1\n",
            console.strip_prefix("http://").unwrap(),
            idp.issuer,
            crew.url()
        ),
        POLICY,
    );
    std::fs::write(folder.file("console.key"), "console-secret-of-a-test").unwrap();
    let gateway = Gateway::start(&folder);
    let alice = idp.person("alice").await;
    let asked = json!({ "inputs": { "topic": "<script>document.title = 'run'</script>" } });
    let alice = Http::with(alice);
    let held = alice.post(&format!("{}/support/kickoff", gateway.data), &asked).await.expect(200);
    assert_eq!(crew.calls().kickoff, 0);

    let mut hanna = Browser::start(&chromium);
    assert!(hanna.open(&console).starts_with(&idp.issuer), "she is sent to the provider");
    assert_eq!(hanna.sign_in("hanna"), format!("{console}/"));
    let page = hanna.text();
    assert!(page.contains("idp:hanna") && page.contains("kickoff support"), "{page}");
    assert_eq!(hanna.ask("document.cookie"), json!(""), "no script sees the session");

    let approval = hanna.click("td a");
    assert!(approval.starts_with(&format!("{console}/approvals/")), "{approval}");
    let page = hanna.text();
    assert!(page.contains("<script>document.title"), "she reads what will be sent: {page}");
    assert_ne!(hanna.ask("document.title"), json!("run"), "and it does not run here");
    assert_ne!(
        hanna.ask("getComputedStyle(document.querySelector('main')).maxWidth"),
        json!("none"),
        "styled"
    );

    // Another site has her browser send the form.
    hanna.open(&format!(
        "data:text/html,<form method=post action='{approval}/decision'><input name=verdict value=approve>"
    ));
    hanna.act("document.querySelector('form').submit()");
    let page = hanna.text();
    assert!(page.contains("Not logged in") || page.contains("Not sent from here"), "{page}");
    assert_eq!(crew.calls().kickoff, 0);

    assert_eq!(hanna.open(&approval), approval);
    assert_eq!(hanna.click("button[value=approve]"), approval, "{}", gateway.log());
    assert!(hanna.text().contains("approved"), "{}", hanna.text());
    let run = held.json().get("kickoff_id").and_then(Value::as_str).unwrap().to_owned();
    until("the run", Duration::from_secs(20), async || {
        let status = alice.get(&format!("{}/support/status/{run}", gateway.data)).await;
        (crew.calls().kickoff == 1).then(|| text(&status.json(), "state").to_owned())
    })
    .await;

    hanna.open(&console);
    hanna.click("form button");
    assert!(hanna.text().contains("This session has ended"), "{}", hanna.text());
    assert_eq!(hanna.open(&console), format!("{console}/"), "the provider still knows her");

    // The provider ends its session, and tells the console behind her back.
    hanna.open(&format!("{}/session/end", idp.issuer));
    hanna.click("button[name=logout]");
    let back = until("the end of the session", Duration::from_secs(20), async || {
        let back = hanna.open(&console);
        back.starts_with(&idp.issuer).then_some(back)
    })
    .await;
    assert!(back.contains("/interaction/"), "she must sign in again: {back}");
    assert!(gateway.log().contains("an issuer ended sessions"), "{}", gateway.log());
}
