//! People before a real Chromium, at a real OpenID provider: what `crewgate login` asks of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod real;

use crewgate_testkit::{Script, ScriptedCrew};
use real::{Browser, CHROMIUM, CREW_KEY, Desk, Folder, Gateway, Http, IDP, Idp, parts, text};
use serde_json::Value;

const POLICY: &str = r#"
@id("analysts-read-inputs")
permit(principal in Role::"analysts", action == Action::"inputs", resource);
"#;

/// A provider, a gateway before one scripted crew, and a browser.
struct House {
    idp: Idp,
    gateway: Gateway,
    browser: Browser,
    _folder: Folder,
    _crew: ScriptedCrew,
}

impl House {
    /// `None` without the real parts.
    async fn open() -> Option<Self> {
        let [node, program] = parts([IDP, CHROMIUM])?;
        let crew = ScriptedCrew::start_with(Script::new().key(CREW_KEY).inputs(["topic"])).await.unwrap();
        let idp = Idp::start(&node);
        let configuration = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n[policy]\npath = \"policy/\"\n[store]\nurl = \"sqlite:crewgate.db\"\n\
             [[issuer]]\nname = \"idp\"\nurl = \"{}\"\naudience = [\"crewgate\"]\ngroups = \"groups\"\n\
             [[crew]]\nname = \"support\"\nurl = \"{}\"\ncredential = {{ env = \"CREW_KEY\" }}\n\
             inputs.topic = {{ type = \"text\" }}\n\
             [[role]]\nname = \"analysts\"\ngroups = [\"idp:analysts\"]\n",
            idp.issuer,
            crew.url()
        );
        let folder = Folder::new(&configuration, POLICY);
        let gateway = Gateway::start(&folder);
        Some(Self { idp, gateway, browser: Browser::start(&program), _folder: folder, _crew: crew })
    }

    fn desk(&self) -> Desk {
        Desk::new(&self.gateway.data, &self.idp.issuer)
    }

    /// Somebody opens the page of a code, sees that it is the code they were told, and says that it is theirs.
    fn confirm(&mut self, prompt: &Value) -> String {
        self.browser.open(text(prompt, "verification_uri_complete"));
        let page = self.browser.text();
        assert!(page.contains(text(prompt, "user_code")), "{page}");
        self.browser.click("button[autofocus]")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_confirms_the_code_in_a_browser_is_signed_in_at_their_desk() {
    let Some(mut house) = House::open().await else { return };
    let desk = house.desk();
    let login = desk.login();
    let address = house.confirm(&login.prompt);
    assert!(address.starts_with(&house.idp.issuer), "{address}");
    assert!(!desk.login_file().exists(), "signed in before anybody said who they are");
    house.browser.sign_in("alice");
    assert!(house.browser.text().contains("Sign-in Success"), "{}", house.browser.text());
    let ended = login.end().await;
    assert!(ended.status.success(), "{ended:?}");
    // What is kept opens what her groups may open.
    let printed = desk.command(&["token", "print"]).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let token = String::from_utf8(printed.stdout).unwrap();
    Http::with(token.trim()).get(&format!("{}/support/inputs", house.gateway.data)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_does_not_know_the_code_ends_the_login() {
    let Some(mut house) = House::open().await else { return };
    let desk = house.desk();
    let login = desk.login();
    house.browser.open(text(&login.prompt, "verification_uri_complete"));
    house.browser.click("button[name=abort]");
    let page = house.browser.text();
    assert!(page.contains("The Sign-in request was interrupted"), "{page}");
    let ended = login.end().await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!desk.login_file().exists(), "a login that was refused is kept");
}
