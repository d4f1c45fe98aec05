use crewgate_core::{Effect, Timestamp};
use crewgate_crewai::Undeclared;

use super::*;

const MINIMAL: &str = r#"
[gateway]
listen = "127.0.0.1:8080"
[[issuer]]
name = "okta"
url = "https://acme.okta.com/oauth2/default"
audience = ["crewgate"]
[[crew]]
name = "support"
url = "https://support-abc.crewai.com"
credential = { file = "Cargo.toml.secret" }
inputs.dataset = { type = "string", dataset = true }
[[role]]
name = "run-summary-jobs"
groups = ["okta:analysts"]
until = "2026-12-31"
[[approvers]]
name = "data-owners"
roles = ["run-summary-jobs"]
[policy]
path = "policy"
[store]
url = "sqlite:crewgate.db"
"#;

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("crewgate-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("policy")).unwrap();
        std::fs::write(path.join("Cargo.toml.secret"), "org-000000000001\n").unwrap();
        std::fs::write(path.join("introspection.secret"), "s3cret\n").unwrap();
        std::fs::write(path.join("console.secret"), "s3cret\n").unwrap();
        Self(path)
    }

    fn parse(&self, text: &str) -> Result<Settings, ConfigError> {
        // 2026-11-22
        Settings::parse(&self.0.join("crewgate.toml"), text, Timestamp::from_secs(1_795_305_600))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_smallest_file_has_safe_defaults() {
    let folder = Folder::new("minimal");
    let settings = folder.parse(MINIMAL).unwrap();
    let crew = &settings.crews[0];
    assert_eq!(crew.credential.expose(), "org-000000000001");
    assert_eq!(crew.floor.iter().map(|profile| profile.as_str()).collect::<Vec<_>>(), ["secrets"]);
    assert_eq!(crew.release, ReleaseRule::Claim);
    assert!(crew.undeclared == Undeclared::Refuse && crew.observe.is_none() && crew.shared_key.is_none());
    // "until" a day includes that day.
    assert_eq!(settings.roles[0].until.unwrap().to_string(), "2027-01-01T00:00:00.000000Z");
    assert!(settings.store.to_string().ends_with("/crewgate.db"));
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let folder = Folder::new("mistakes");
    for (from, to, line, message) in [
        ("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\"", 3, "tokens in clear"),
        ("audience = [\"crewgate\"]", "audience = []", 7, "audience is mandatory"),
        ("name = \"support\"", "name = \"Support\"", 9, "is not a name"),
        ("name = \"support\"", "name = \"relay\"", 9, "gateway's own"),
        ("https://support-abc", "http://support-abc", 10, "plain HTTP"),
        ("file = \"Cargo.toml.secret\"", "file = \"missing\"", 11, "cannot be read"),
        ("file = \"Cargo.toml.secret\"", "env = \"A\", file = \"b\"", 11, "exactly one"),
        ("type = \"string\"", "type = \"str\"", 12, "not a type"),
        ("okta:analysts", "analysts", 15, "must begin with the name of an issuer"),
        ("2026-12-31", "31.12.2026", 16, "not a date"),
        ("roles = [\"run-summary-jobs\"]", "roles = [\"nobody\"]", 19, "no role `nobody`"),
        ("path = \"policy\"", "path = \"rules\"", 21, "not a folder"),
        ("sqlite:crewgate.db", "mysql:x", 23, "not a store"),
        ("sqlite:crewgate.db", "postgres://gw@localhost/crewgate", 23, "needs keys that are given"),
        ("sqlite:crewgate.db", "postgres://gw:secret@db/crewgate", 23, "a password does not stand here"),
        ("sqlite:crewgate.db", "postgres://db/x?password=secret", 23, "a password does not stand here"),
        ("sqlite:crewgate.db\"", "sqlite:a\"\npassword = { env = \"PW\" }", 24, "a file has no password"),
        ("listen =", "listne =", 3, "unknown field `listne`"),
        (
            "url = \"https://support-abc.crewai.com\"",
            "url = \"https://x.example\"\nmode = \"observe\"",
            11,
            "must end",
        ),
        (
            "url = \"https://support-abc.crewai.com\"",
            "url = \"https://x.example\"\nmode = \"observe\"\nuntil = \"2027-12-31\"",
            12,
            "more than 90 days",
        ),
        (
            "url = \"https://support-abc.crewai.com\"",
            "url = \"https://x.example\"\nmask = []",
            11,
            "masks nothing",
        ),
        (
            "url = \"https://support-abc.crewai.com\"",
            "url = \"https://x.example\"\nmask = [\"pii\"]",
            11,
            "no mask profile",
        ),
        (
            "audience = [\"crewgate\"]",
            "audience = [\"crewgate\"]\nalgorithms = [\"HS256\"]",
            8,
            "algorithm is not known",
        ),
        ("name = \"okta\"", "name = \"okta\"\nprofile = \"okto\"", 6, "`okto` is no profile: auth0,"),
        ("name = \"okta\"", "name = \"okta\"\nprofile = \"google\"", 5, "require.hd"),
        ("name = \"okta\"", "name = \"okta\"\nskew = \"2m\"", 5, "skew of more than 60 s"),
        ("name = \"okta\"", "name = \"okta\"\ngroups = []", 5, "empty groups claim"),
        ("name = \"okta\"", "name = \"okta\"\nclients = []", 6, "no client is named"),
        ("name = \"okta\"", "name = \"okta\"\ngroups = \"a..b\"", 5, "empty groups claim"),
    ] {
        assert!(MINIMAL.contains(from), "{from}");
        let error = folder.parse(&MINIMAL.replacen(from, to, 1)).unwrap_err();
        let found = error.0.iter().find(|d| d.message.contains(message));
        let found = found.unwrap_or_else(|| panic!("{message:?} not in:\n{error}"));
        assert_eq!(found.place.map(|(line, _)| line), Some(line), "{found}");
        assert!(found.to_string().contains("crewgate.toml:"), "{found}");
    }
}

#[test]
fn roles_include_roles_with_the_dates_of_their_table() {
    use crewgate_core::RoleName;
    let folder = Folder::new("nested");
    let text = format!(
        "{MINIMAL}[[role]]\nname = \"lead\"\ngroups = [\"okta:leads\"]\nincludes = [\"run-summary-jobs\"]\nfrom = \"2026-12-01\"\n\
         [[role]]\nname = \"head\"\nincludes = [\"lead\"]\n[[role]]\nname = \"night-shift\"\ngroups = []\n"
    );
    let settings = folder.parse(&text).unwrap();
    assert_eq!(settings.roles.len(), 4);
    let [step] = settings.nesting.inclusions(&RoleName::new("lead")) else {
        panic!("{:?}", settings.nesting)
    };
    assert_eq!((step.includes.as_str(), step.until), ("run-summary-jobs", None));
    assert_eq!(step.from.unwrap().to_string(), "2026-12-01T00:00:00.000000Z");
}

#[test]
fn the_guides_roles_load() {
    let folder = Folder::new("guide-roles");
    let guide = include_str!("../../../../docs/configuration.md");
    let (_, rest) = guide.split_once("## Roles, approvers, people").unwrap();
    let block = rest.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let github = "[[issuer]]\nname = \"github\"\nurl = \"https://token.actions.githubusercontent.com\"\naudience = [\"crewgate\"]\n";
    let (before, rest) = MINIMAL.split_once("[[role]]").unwrap();
    let (_, after) = rest.split_once("[policy]").unwrap();
    let text = format!("{before}{github}{block}[policy]{after}");
    let settings = folder.parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((settings.roles.len(), settings.approvers.len(), settings.persons.len()), (3, 1, 1));
}

#[test]
fn what_roles_include_must_be_there_and_lead_nowhere_back() {
    let folder = Folder::new("circles");
    let role = |name: &str, includes: &str| format!("[[role]]\nname = \"{name}\"\nincludes = [{includes}]\n");
    let first = MINIMAL.lines().count() + 1;
    for (tables, line, message) in [
        (role("lead", "\"nobody\""), first + 2, "no role `nobody`"),
        (role("lead", "\"lead\""), first + 2, "in a circle: lead → lead"),
        (
            role("a", "\"run-summary-jobs\", \"b\"") + &role("b", "\"c\"") + &role("c", "\"a\""),
            first + 8,
            "in a circle: a → b → c → a",
        ),
        ("[[role]]\nname = \"idle\"\n".to_owned(), first + 1, "nobody holds this role"),
        (
            "[[role]]\nname = \"x\"\ngroups = []\nfrom = \"2027-02-01\"\nuntil = \"2027-01-01\"\n".to_owned(),
            first + 4,
            "ends before it begins",
        ),
    ] {
        let error = folder.parse(&format!("{MINIMAL}{tables}")).unwrap_err();
        let [found] = error.0.as_slice() else { panic!("{error}") };
        assert!(found.message.contains(message), "{found}");
        assert_eq!(found.place.map(|(line, _)| line), Some(line), "{found}");
    }
}

#[test]
fn how_a_role_is_asked_for_names_people_there_are_and_is_said_once() {
    let folder = Folder::new("requests");
    let approvers = "[[approvers]]\nname = \"leads\"\nroles = [\"run-summary-jobs\"]\n";
    let role =
        |request: &str| format!("[[role]]\nname = \"night\"\ngroups = []\nrequest = {{ {request} }}\n");
    let good = role("approvers = [\"leads\"]");
    let settings =
        folder.parse(&format!("{MINIMAL}{approvers}{good}")).unwrap_or_else(|error| panic!("{error}"));
    let request = settings.roles.iter().find_map(|role| role.request.clone()).unwrap();
    assert_eq!((request.approvers.len(), request.longest.as_secs()), (1, 8 * 3600));
    let first = format!("{MINIMAL}{approvers}").lines().count() + 1;
    for (tables, line, message) in [
        (role("approvers = []"), first + 3, "nobody would be asked"),
        (role("approvers = [\"nobody\"]"), first + 3, "no approvers `nobody`"),
        (role("approvers = [\"leads\"], longest = \"0s\""), first + 3, "no time at all"),
        (format!("{good}{good}"), first + 7, "another table says"),
    ] {
        let error = folder.parse(&format!("{MINIMAL}{approvers}{tables}")).unwrap_err();
        let [found] = error.0.as_slice() else { panic!("{error}") };
        assert!(found.message.contains(message), "{found}");
        assert_eq!(found.place.map(|(line, _)| line), Some(line), "{found}");
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let folder = Folder::new("several");
    let text =
        MINIMAL.replace("2026-12-31", "soon").replace("sqlite:", "redis:").replace("[\"crewgate\"]", "[]");
    assert_eq!(folder.parse(&text).unwrap_err().0.len(), 3);
}

#[test]
fn the_way_over_ends() {
    let folder = Folder::new("over");
    let text = MINIMAL.replace(
        "credential =",
        "mode = \"observe\"\nuntil = \"2026-12-31\"\ndangerously_accept_shared_key = { file = \"Cargo.toml.secret\", until = \"2027-01-15\" }\ncredential =",
    );
    let settings = folder.parse(&text).unwrap();
    assert!(settings.crews[0].observe.is_some() && settings.crews[0].shared_key.is_some());
    let endless = text.replace(", until = \"2027-01-15\"", "");
    assert!(folder.parse(&endless).unwrap_err().to_string().contains("missing field `until`"));
}

const GITHUB: &str = r#"
[[issuer]]
name = "github"
profile = "github-actions"
url = "https://token.actions.githubusercontent.com"
audience = ["https://crewgate.acme.example"]
require = { repository_owner_id = "65" }
[[role]]
name = "security"
groups = ["okta:security"]
"#;

/// The fenced blocks in a page of what the gateway reads, or of what its callers read: `# client.toml` stands at their
/// top.
fn blocks(page: &str, of_callers: bool) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("# client.toml") == of_callers).collect()
}

#[test]
fn every_setting_of_a_caller_in_the_guide_loads() {
    let page = include_str!("../../../../docs/identity.md");
    let mut sources = std::collections::BTreeSet::new();
    for block in blocks(page, true) {
        let profiles = block.lines().filter_map(|line| line.strip_prefix("[profile.")?.strip_suffix(']'));
        for profile in std::iter::once(None).chain(profiles.map(Some)) {
            let settings = ClientSettings::parse("client.toml".as_ref(), block, profile);
            let settings = settings.unwrap_or_else(|error| panic!("{block}\n{error}"));
            sources.insert(format!("{:?}", settings.source()));
        }
    }
    assert_eq!(sources.len(), 5, "the guide does not show every source: {sources:?}");
}

#[test]
fn every_issuer_of_the_guide_loads() {
    let folder = Folder::new("guide");
    let page = include_str!("../../../../docs/identity.md");
    let issuer = MINIMAL.find("[[issuer]]").unwrap()..MINIMAL.find("[[crew]]").unwrap();
    let mut profiles = std::collections::BTreeSet::new();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    for name in ["exchange-2026-11.pem", "exchange-2026-10.pem"] {
        std::fs::write(folder.0.join(name), pair.serialize_pem()).unwrap();
    }
    for block in blocks(page, false) {
        // What is no issuer stands beside those it names.
        if !block.starts_with("[[issuer]]") {
            let text = format!("{MINIMAL}{GITHUB}{block}");
            folder.parse(&text).unwrap_or_else(|error| panic!("{block}\n{error}"));
            continue;
        }
        let name = block.split('"').nth(1).unwrap();
        let mut text = MINIMAL.replace("okta:analysts", &format!("{name}:analysts"));
        text.replace_range(issuer.clone(), block);
        let settings = folder.parse(&text).unwrap_or_else(|error| panic!("{block}\n{error}"));
        let issuer = &settings.issuers[0];
        let profile = issuer.config.used_profile();
        // A cluster's own issuer is in its network; nobody else's is unless it is said.
        assert_eq!(issuer.reach.private_network, profile == crewgate_oidc::Profile::Kubernetes);
        profiles.insert(profile);
    }
    for profile in crewgate_oidc::Profile::ALL {
        assert!(profiles.contains(&profile), "the guide shows no {}", profile.name());
    }
}

#[test]
fn people_log_in_at_a_known_issuer_and_a_known_address() {
    let folder = Folder::new("login");
    let console = "[console]\nlisten = \"0.0.0.0:8444\"\ntls = { certificate = \"c\", key = \"k\" }\n";
    let login = "[console.login]\nissuer = \"okta\"\nclient_id = \"console\"\n";
    let public = "public_url = \"https://console.acme.example/\"\n";
    let load = |text: &str| folder.parse(&format!("{MINIMAL}{text}"));
    let settings = load(&format!("{console}{public}{login}")).unwrap();
    let settings = settings.login.unwrap();
    assert_eq!(settings.public_url.as_deref(), Some("https://console.acme.example"));
    assert_eq!((settings.fresh.as_secs(), settings.client_secret.is_none()), (300, true));
    for (text, expected) in [
        (format!("{console}{login}"), "people log in at the console's public address"),
        (format!("{console}{public}"), "only people who log in need it"),
        (format!("{console}{public}{}", login.replace("okta", "entra")), "no issuer `entra`"),
        (format!("{console}{}{login}", public.replace("https", "http")), "plain HTTP"),
        (format!("{console}{}{login}", public.replace("example/", "example/crewgate")), "must have no path"),
        (format!("{console}{public}{login}fresh = \"1h\"\n"), "not between 1s and 15m"),
        (format!("{console}{public}{login}scopes = [\"a b\"]\n"), "not one word"),
        (format!("{console}{public}{login}secret = \"x\"\n"), "unknown field"),
    ] {
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn inputs_and_prompts_are_declared_with_their_bounds() {
    let folder = Folder::new("inputs");
    std::fs::write(folder.0.join("weekly.txt"), "Summarise the week.\n").unwrap();
    let text = MINIMAL.replace(
        "inputs.dataset = { type = \"string\", dataset = true }",
        r#"inputs.dataset = { type = "string", dataset = true, enum = ["hr", "sales"], required = true }
inputs.days = { type = "integer", min = 1, max = 31 }
inputs.code = { type = "string", pattern = "[A-Z]{2}-[0-9]+", max_length = 12 }
inputs.tags = { type = "strings", min_items = 1, max_items = 3, min_length = 2 }
inputs.task = { type = "text", prompt = true }
undeclared_inputs = "ignore"
[[crew.prompt]]
id = "weekly"
file = "weekly.txt"
[[crew.prompt]]
id = "daily"
text = "Summarise the day."
[[crew.prompt]]
id = "secret"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#,
    );
    let settings = folder.parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let crew = &settings.crews[0];
    assert_eq!(crew.prompts.ids(), ["daily", "secret", "weekly"]);
    assert_eq!(crew.undeclared, Undeclared::Ignore);
    let mut same = crewgate_crewai::Prompts::new();
    for (id, text) in [("weekly", "Summarise the week."), ("daily", "Summarise the day."), ("secret", "abc")]
    {
        same.text(id, text).unwrap();
    }
    assert_eq!(crew.prompts, same);
    for (from, to, line, message) in [
        ("min = 1, max = 31", "min = 32, max = 31", 13, "nothing would be allowed"),
        ("min = 1, max = 31", "min = 1, max = \"many\"", 13, "invalid type"),
        ("min = 1, max = 31", "minimum = 1", 13, "unknown field `minimum`"),
        ("min = 1, max = 31", "min_length = 1", 13, "for strings and text"),
        ("[A-Z]{2}-[0-9]+", "[A-Z", 14, "unclosed character class"),
        ("[A-Z]{2}-[0-9]+", "[A-Z])|(?:x", 14, "not a pattern"),
        ("max_length = 12", "max_length = 5000", 14, "at most 1024 bytes"),
        ("[\"hr\", \"sales\"]", "[]", 12, "allows nothing"),
        ("[\"hr\", \"sales\"]", "[1]", 12, "`enum` is strings"),
        ("max_items = 3", "max_items = 300", 15, "at most 256"),
        ("type = \"text\", prompt", "type = \"json\", prompt", 16, "can be a prompt"),
        ("prompt = true", "prompt = false", 19, "no input of this crew says"),
        ("id = \"daily\"", "id = \"weekly\"", 22, "stands twice"),
        ("Summarise the day.", "Summarise the week.", 22, "the same prompt as `weekly`"),
        ("file = \"weekly.txt\"", "file = \"missing.txt\"", 20, "cannot be read"),
        ("file = \"weekly.txt\"", "file = \"policy\"", 20, "is not a file"),
        ("file = \"weekly.txt\"", "file = \"weekly.txt\"\ntext = \"x\"", 19, "exactly one"),
        ("20015ad", "20015a", 26, "64 hexadecimal digits"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = folder.parse(&text.replacen(from, to, 1)).unwrap_err();
        let found = error.0.iter().find(|d| d.message.contains(message));
        let found = found.unwrap_or_else(|| panic!("{message:?} not in:\n{error}"));
        assert_eq!(found.place.map(|(line, _)| line), Some(line), "{found}");
    }
    let without = text.split("[[crew.prompt]]").next().unwrap();
    let rest = MINIMAL.split_once("[[role]]").unwrap().1;
    let error = folder.parse(&format!("{without}[[role]]{rest}")).unwrap_err().to_string();
    assert!(error.contains("no prompt is listed"), "{error}");
    assert!(folder.parse(&format!("{without}prompts = \"any\"\n[[role]]{rest}")).is_ok());
}

const MASKS: &str = r#"
[masking]
keys = [{ file = "new.key" }, { file = "old.key" }]
keep = "7d"
[mask.base]
extends = ["pii-basic"]
operator = "number"
find = { CREDIT_CARD = { keep_last = 4 }, IP_ADDRESS = "ignore" }
[mask.desk]
extends = ["base"]
only = ["result"]
except = ["result.last_step.*"]
allow = ["support@example.com"]
restore = ["run-summary-jobs"]
on_request = "refuse"
[mask.desk.find]
US_SSN = "hash"
IBAN = "encrypt"
[[mask.desk.detector]]
name = "ORDER_ID"
regex = "ORD-[0-9]{8}"
near = ["order"]
"#;

impl Folder {
    fn with_keys(name: &str) -> Self {
        let folder = Self::new(name);
        for (file, letter) in [("new.key", "n"), ("old.key", "o"), ("short.key", "s")] {
            let length = if letter == "s" { 20 } else { 44 };
            std::fs::write(folder.0.join(file), letter.repeat(length)).unwrap();
        }
        folder
    }
}

fn masked(settings: &Settings, profile: &str, json: &str) -> String {
    let name = crewgate_core::MaskProfile::new(profile);
    let masker = settings.masks.profiles.masker(&[name].into()).unwrap();
    masker.mask_json(json.as_bytes()).unwrap().text
}

#[test]
fn profiles_extend_choose_operators_and_places_and_bring_detectors() {
    let folder = Folder::with_keys("masks");
    let text = MINIMAL.replace("inputs.dataset", "mask = [\"desk\"]\ninputs.dataset") + MASKS;
    let settings = folder.parse(&text).unwrap();
    assert_eq!(settings.masks.keep.as_secs(), 7 * 86_400);
    assert!(settings.masks.vault.is_some());
    let json = r#"{"result":["a@example.com","4111 1111 1111 1111","10.20.30.40"]}"#;
    let expected = r#"{"result":["<EMAIL_1>","**** **** **** 1111","10.20.30.40"]}"#;
    assert_eq!(masked(&settings, "base", json), expected);
    let mask = |json| masked(&settings, "desk", json);
    let result = mask(r#"{"result":"536-90-4399, support@example.com, order ORD-12345678"}"#);
    assert!(result.starts_with(r#"{"result":"<US_SSN:h:"#), "{result}");
    assert!(result.ends_with(r#"support@example.com, order <ORDER_ID>"}"#), "{result}");
}

#[test]
fn what_is_wrong_in_a_profile_is_told_with_its_place() {
    let folder = Folder::with_keys("bad-masks");
    for (line, message) in [
        ("[mask.x]\nfind = { EMIAL = \"type\" }", "no entity `EMIAL`"),
        ("[mask.x]\nfind = { EMAIL = \"mask\" }", "no operator `mask`"),
        ("[mask.x]\nfind = { EMAIL = { keep_last = 4, text = \"x\" } }", "one operator has one setting"),
        ("[mask.x]\nfind = { EMAIL = \"card\" }", "CREDIT_CARD only"),
        ("[mask.x]\nfind = { CREDIT_CARD = { keep_last = 8 } }", "no more"),
        ("[mask.x]\nfind = { PRIVATE_KEY = \"encrypt\" }", "longer than what is held"),
        ("[mask.x]\nfind = { JWT = \"vault\" }", "longer than what is held"),
        ("[mask.x]\nextends = [\"nope\"]", "no mask profile `nope`"),
        ("[mask.x]\nextends = [\"y\"]\n[mask.y]\nextends = [\"x\"]", "extends itself"),
        ("[mask.x]\nextends = [\"secrets\"]\nonly = [\"a..b\"]", "is not a place in JSON"),
        ("[mask.x]\nextends = [\"secrets\"]\nrestore = [\"nobody\"]", "no role `nobody`"),
        ("[mask.x]\nextends = [\"secrets\"]\non_request = \"drop\"", "neither `mask` nor `refuse`"),
        ("[mask.x]\nextends = [\"secrets\"]\nnumbers = \"none\"", "none of `digits`"),
        ("[mask.x]\nonly = [\"result\"]", "finds nothing"),
        ("[mask.secrets]\nfind = { EMAIL = \"type\" }", "is a built-in profile"),
        ("[mask.x]\ndetector = [{ name = \"A\", regex = \"(a+)+b\" }]", "can match more than"),
        ("[mask.x]\ndetector = [{ name = \"A\", regex = \"(\" }]", "not valid"),
        ("[mask.x]\ndetector = [{ name = \"A\" }]", "exactly one of"),
        ("[mask.x]\nfinds = { EMAIL = \"type\" }", "unknown field `finds`"),
    ] {
        let text = format!("{MINIMAL}[masking]\nkeys = [{{ file = \"new.key\" }}]\n{line}\n");
        let error = folder.parse(&text).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(message), "{line}\n{told}");
        let first = MINIMAL.lines().count() + 3;
        let (at, _) = error.0[0].place.unwrap();
        assert!(at >= first && at <= first + 3, "{line}\n{told}");
    }
}

#[test]
fn operators_with_a_key_ask_for_one_that_cannot_be_guessed() {
    let folder = Folder::with_keys("mask-keys");
    for operator in ["hash", "encrypt", "vault"] {
        let text = format!("{MINIMAL}[mask.x]\nfind = {{ EMAIL = \"{operator}\" }}\n");
        let told = folder.parse(&text).unwrap_err().to_string();
        assert!(told.contains("needs a key"), "{told}");
    }
    let short = format!("{MINIMAL}[masking]\nkeys = [{{ file = \"short.key\" }}]\n");
    assert!(folder.parse(&short).unwrap_err().to_string().contains("at least 32 bytes"));
    let twice = format!("{MINIMAL}[masking]\nkeys = [{{ file = \"new.key\" }}, {{ file = \"new.key\" }}]\n");
    assert!(folder.parse(&twice).unwrap_err().to_string().contains("stands twice"));
}

#[test]
fn operations_beside_crewais_own_are_declared_and_what_is_wrong_with_one_is_told_where() {
    let folder = Folder::new("operations");
    let (before, rest) = MINIMAL.split_once("[[role]]").unwrap();
    let operations = r#"[[crew.operation]]
action = "reports.export"
method = "POST"
path = "/reports/export"
effect = "read"
inputs.format = { type = "string", enum = ["csv", "pdf"] }
undeclared_inputs = "ignore"
[[crew.operation]]
action = "reports.list"
method = "GET"
path = "/reports"
"#;
    let text = format!("{before}{operations}[[role]]{rest}");
    let settings = folder.parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let [export, list] = settings.crews[0].operations.as_slice() else { panic!("two operations") };
    assert_eq!((export.effect, export.undeclared), (Effect::Read, Undeclared::Ignore));
    assert!(export.inputs.contains_key("format"));
    assert_eq!((list.action.as_str(), list.effect), ("reports.list", Effect::Read));
    let line_of = |what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    let other = "[[crew]]\nname = \"other\"\nurl = \"https://other.example\"\n\
        credential = { file = \"Cargo.toml.secret\" }\n[[crew.operation]]\naction = \"reports.list\"\n\
        method = \"POST\"\npath = \"/list\"\n";
    for (from, to, line, message) in [
        ("\"reports.export\"", "\"kickoff\"", line_of("reports.export"), "a name of CrewAI's own"),
        ("\"reports.export\"", "\"reports.list\"", line_of("reports.list"), "is declared twice"),
        ("\"POST\"", "\"TRACE\"", line_of("POST"), "is none of GET"),
        ("\"POST\"", "\"GET\"", line_of("inputs.format"), "takes no body"),
        ("\"/reports/export\"", "\"/reports/{id}\"", line_of("/reports/export"), "is no literal path"),
        ("\"/reports/export\"", "\"/kickoff\"", line_of("/reports/export"), "an address of CrewAI's own"),
        ("effect = \"read\"", "effect = \"none\"", line_of("effect"), "neither `read` nor `write`"),
        ("[\"csv\", \"pdf\"]", "[]", line_of("inputs.format"), "allows nothing"),
        ("[[role]]", &format!("{other}[[role]]"), line_of("[[role]]") + 5, "writes in another"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = folder.parse(&text.replacen(from, to, 1)).unwrap_err();
        let found = error.0.iter().find(|d| d.message.contains(message));
        let found = found.unwrap_or_else(|| panic!("{message:?} not in:\n{error}"));
        assert_eq!(found.place.map(|(line, _)| line), Some(line), "{found}");
    }
}

#[test]
fn exchange_events_and_revocation_are_read_strictly() {
    let folder = Folder::new("exchange");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    std::fs::write(folder.0.join("exchange.pem"), pair.serialize_pem()).unwrap();
    let more = r#"[[issuer]]
name = "github"
profile = "github-actions"
url = "https://token.actions.githubusercontent.com"
audience = ["https://gate.example"]
require = { repository_owner_id = "65" }
[exchange]
keys = [{ file = "exchange.pem" }]
issuers = ["github", "okta"]
lifetime = "2m"
rate = "10/min"
[[events]]
issuer = "okta"
transmitter = "https://signals.example"
audience = ["https://gate.example/oauth/events"]
[revocation]
roles = ["run-summary-jobs"]
"#;
    let text = format!("{MINIMAL}{more}");
    let first = MINIMAL.lines().count();
    let settings = folder.parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let exchange = settings.exchange.unwrap();
    assert_eq!((exchange.keys.len(), exchange.lifetime.as_secs()), (1, 120));
    assert_eq!(exchange.once.iter().collect::<Vec<_>>(), ["github"], "a job's token counts once");
    let source = &settings.events[0].source;
    assert_eq!((source.transmitter.url(), source.about.as_str()), ("https://signals.example", "okta"));
    assert!(settings.revokers.contains("run-summary-jobs"));
    for (from, to, line, message) in [
        ("keys = [{ file = \"exchange.pem\" }]", "keys = []", 9, "no key to sign with"),
        ("file = \"exchange.pem\"", "file = \"missing.pem\"", 8, "cannot be read"),
        ("file = \"exchange.pem\"", "file = \"Cargo.toml.secret\"", 8, "not a private key in PEM"),
        ("[\"github\", \"okta\"]", "[\"gitlab\"]", 9, "no issuer `gitlab`"),
        ("[\"github\", \"okta\"]", "[]", 9, "nobody's tokens"),
        ("lifetime = \"2m\"", "lifetime = \"6m\"", 10, "between 1s and 5m"),
        ("lifetime = \"2m\"", "once = [\"entra\"]", 10, "not among `issuers`"),
        ("rate = \"10/min\"", "rate = \"0/min\"", 11, "not a rate"),
        ("issuer = \"okta\"", "issuer = \"entra\"", 13, "no issuer `entra`"),
        ("https://signals.example", "http://signals.example", 14, "plain HTTP"),
        ("[\"https://gate.example/oauth/events\"]", "[]", 15, "audience is mandatory"),
        ("roles = [\"run-summary-jobs\"]\n", "roles = [\"security\"]\n", 17, "no role `security`"),
        ("name = \"github\"", "name = \"crewgate\"", 2, "gateway's own"),
    ] {
        assert!(more.contains(from), "{from}");
        let error = folder.parse(&format!("{MINIMAL}{}", more.replacen(from, to, 1))).unwrap_err();
        let found = error.0.iter().find(|d| d.message.contains(message));
        let found = found.unwrap_or_else(|| panic!("{message:?} not in:\n{error}"));
        assert_eq!(found.place.map(|(at, _)| at), Some(first + line), "{found}");
    }
    let open = text.replace("127.0.0.1:8080\"", "0.0.0.0:8080\"\ndangerously_plain_http = true");
    assert!(folder.parse(&open).unwrap_err().to_string().contains("public address"));
}

#[test]
fn who_is_held_leaves_room_for_others() {
    let folder = Folder::new("held");
    let with = |more: &str| folder.parse(&format!("{MINIMAL}\n[approval]\n{more}\n"));
    let settings = with("held = 100\nheld_each = 7").unwrap();
    let each = settings.approval.held_each.map(std::num::NonZeroUsize::get);
    assert_eq!((settings.approval.held.get(), each), (100, Some(7)));
    for (more, message) in [
        ("held = 0", "`held` must be at least 1"),
        ("held_each = 0", "`held_each` must be at least 1"),
        ("waiting_each = 0", "`waiting_each` must be at least 1"),
        ("held = 512", "more calls would be held than there may be"),
    ] {
        let error = with(more).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
