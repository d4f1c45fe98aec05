//! People are told that they are asked, by every way there is, whatever falls over meanwhile.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use house::{Ground, House, Plan, contains, until};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

type Got = (HeaderMap, Bytes);

/// Somebody who is told: answers with a status, and keeps what was said while it was 2xx.
#[derive(Clone)]
struct Receiver {
    status: Arc<AtomicU16>,
    tried: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    fn new(status: u16) -> Self {
        Self { status: Arc::new(AtomicU16::new(status)), tried: Arc::default(), got: Arc::default() }
    }

    async fn listen(&self, listener: TcpListener) {
        let take = async |State(receiver): State<Self>, headers: HeaderMap, body: Bytes| {
            let status = StatusCode::from_u16(receiver.status.load(Ordering::SeqCst)).unwrap();
            receiver.tried.fetch_add(1, Ordering::SeqCst);
            if status.is_success() {
                receiver.got.lock().unwrap().push((headers, body));
            }
            (status, [(http::header::LOCATION, "/elsewhere")])
        };
        let router = Router::new().route("/hook", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The messages, once there are as many as this.
    async fn messages(&self, count: usize) -> Vec<Got> {
        until("messages", async || (self.got().len() >= count).then(|| self.got())).await
    }
}

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

const LINK: &str = "link = \"https://console.test/approvals/{id}\"";

fn table(name: &str, to: &str, address: SocketAddr, more: &str) -> String {
    format!("[[notify]]\nname = \"{name}\"\nto = \"{to}\"\nurl = \"http://{address}/hook\"\n{LINK}\n{more}\n")
}

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

/// With a webhook at this address, signed by two secrets, of which one is on its way out.
async fn ground(tables: String) -> Ground {
    let ground = Ground::lay(Plan { tables, ..Plan::default() }).await;
    ground.folder.write("new.secret", format!("whsec_{}\n", STANDARD.encode(NEW)));
    ground.folder.write("old.secret", format!("whsec_{}", STANDARD.encode(OLD)));
    ground
}

const SIGNED: &str = "secrets = [{ file = \"new.secret\" }, { file = \"old.secret\" }]";

fn header<'a>(got: &'a Got, name: &str) -> &'a str {
    got.0.get(name).unwrap().to_str().unwrap()
}

/// As a receiver checks it, by another implementation than the one that signs.
fn is_signed_by(got: &Got, secret: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("{}.{}.", header(got, "webhook-id"), header(got, "webhook-timestamp")).as_bytes());
    mac.update(&got.1);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    header(got, "webhook-signature").split(' ').any(|signature| signature == expected)
}

fn json_of(got: &Got) -> Value {
    serde_json::from_slice(&got.1).unwrap()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_tells_who_is_asked_and_how_it_ended_signed_by_every_secret() {
    let (listener, address) = bound().await;
    let receiver = Receiver::new(204);
    receiver.listen(listener).await;
    let more = format!("on = [\"asked\", \"decided\"]\napprovers = [\"data-owners\"]\n{SIGNED}");
    let house = House::start(ground(table("desk", "webhook", address, &more)).await).await;
    house.ask(&house.token("ana.weber@example.com", &["analysts"])).await;
    let asked = receiver.messages(1).await.remove(0);
    assert!(is_signed_by(&asked, &NEW) && is_signed_by(&asked, &OLD));
    assert!(!is_signed_by(&asked, &[3; 32]), "the check can fail");
    let sent: u64 = header(&asked, "webhook-timestamp").parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(sent) < 60);
    let body = json_of(&asked);
    assert_eq!(text(&body, "/type"), "approval.asked");
    assert_eq!(text(&body, "/data/title"), "kickoff on payroll waits for data-owners");
    let id = text(&body, "/data/approval_id").to_owned();
    assert_eq!(text(&body, "/data/link"), format!("https://console.test/approvals/{id}"));
    // Who asked is told as masks leave it, and what is asked not at all.
    assert!(contains(&asked.1, "<EMAIL>"), "{body}");
    assert!(!contains(&asked.1, "ana.weber") && !contains(&asked.1, "E-2001"), "{body}");

    assert_eq!(house.approve().await, id);
    let decided = json_of(&receiver.messages(2).await[1]);
    assert_eq!(text(&decided, "/type"), "approval.decided");
    assert_eq!(text(&decided, "/data/title"), "kickoff on payroll was approved");
    house::verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_is_told_when_it_is_up_again_and_a_restart_tells_nothing_twice() {
    let (listener, address) = bound().await;
    // Nobody is there.
    drop(listener);
    let more = format!("on = [\"asked\"]\n{SIGNED}");
    let house = House::start(ground(table("desk", "webhook", address, &more)).await).await;
    house.ask(&house.alice()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Then somebody who does not take it, and who must not be able to send it elsewhere.
    let receiver = Receiver::new(503);
    receiver.listen(TcpListener::bind(address).await.unwrap()).await;
    until("a try", async || (receiver.tried.load(Ordering::SeqCst) > 0).then_some(())).await;
    receiver.status.store(307, Ordering::SeqCst);
    let tried = receiver.tried.load(Ordering::SeqCst);
    until("another try", async || (receiver.tried.load(Ordering::SeqCst) > tried).then_some(())).await;
    // The gateway ends meanwhile; the next one knows what is still to be told.
    let ground = house.stop().await;
    receiver.status.store(200, Ordering::SeqCst);
    let house = House::start(ground).await;
    let first = header(&receiver.messages(1).await[0], "webhook-id").to_owned();
    house.ask(&house.alice()).await;
    receiver.messages(2).await;
    let ground = house.stop().await;
    let house = House::start(ground).await;
    house.ask(&house.alice()).await;
    let ids: Vec<String> =
        receiver.messages(3).await.iter().map(|got| header(got, "webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(ids.iter().filter(|id| **id == first).count(), 1);
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_decided_on_meanwhile_is_not_asked_for_and_who_waits_long_is_asked_for_again() {
    let (listener, address) = bound().await;
    let receiver = Receiver::new(500);
    receiver.listen(listener).await;
    let more = format!("on = [\"asked\", \"expiring\"]\nbefore = \"3h 59m 58s\"\n{SIGNED}");
    let house = House::start(ground(table("desk", "webhook", address, &more)).await).await;
    house.ask(&house.alice()).await;
    until("a try", async || (receiver.tried.load(Ordering::SeqCst) > 0).then_some(())).await;
    house.approve().await;
    receiver.status.store(200, Ordering::SeqCst);
    house.ask(&house.alice()).await;
    let told: Vec<String> = receiver
        .messages(2)
        .await
        .iter()
        .map(|got| {
            let body = json_of(got);
            format!("{} {}", text(&body, "/type"), text(&body, "/data/approval_id"))
        })
        .collect();
    let waiting = house.sheet().await;
    let id = text(&waiting, "/id");
    assert_eq!(told, [format!("approval.asked {id}"), format!("approval.expiring {id}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_glass_is_told_until_somebody_has_looked_and_so_is_who_it_goes_to() {
    let (listener, address) = bound().await;
    let receiver = Receiver::new(200);
    receiver.listen(listener).await;
    let more = format!("on = [\"broken\", \"escalated\"]\n{SIGNED}");
    let tables = format!(
        "{}[[role]]\nname = \"on-call\"\ngroups = [\"dev:on-call\"]\n\
         [[approvers]]\nname = \"on-call\"\nroles = [\"on-call\"]\nescalate_to = \"data-owners\"\nafter = \"1s\"\n\
         [[role]]\nname = \"night\"\ngroups = []\nrequest = {{ approvers = [\"on-call\"] }}\n\
         [break_glass]\nroles = [\"on-call\"]\ninstead_of = [\"data-owners\"]\nreviewers = [\"data-owners\"]\n\
         within = \"2s\"\n",
        table("desk", "webhook", address, &more)
    );
    let house = House::start(ground(tables).await).await;
    house.ask(&house.alice()).await;
    let sheet = house.sheet().await;
    let id = text(&sheet, "/id").to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let alice = house.idp.token().subject("alice").groups(["analysts", "on-call"]).audience("crewgate");
    let alice = alice.claim("auth_time", now).sign();
    let why = json!({ "digest": text(&sheet, "/digest"), "reason": "production is down and nobody answers" });
    let path = format!("/api/approvals/{id}/break-glass");
    let broken = house.control("POST", &path, &alice, Some(why)).await;
    assert_eq!(broken.status, 200, "{}", broken.text());
    // Nobody looks in time: that is told by the clock, and then what somebody found.
    let told = receiver.messages(2).await;
    let found = json!({ "verdict": "deny", "reason": "it was not down" });
    let review = format!("/api/approvals/{id}/review");
    let reviewed = house.control("POST", &review, &house.dora(), Some(found)).await;
    assert_eq!(reviewed.status, 200, "{}", reviewed.text());
    // And a request that nobody decides goes on.
    let wish = json!({ "role": "night", "seconds": 60, "reason": "the night" });
    let asked = house.control("POST", "/api/grants", &house.alice(), Some(wish)).await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let told: Vec<Value> = told.iter().chain(&receiver.messages(4).await[2..]).map(json_of).collect();
    let kinds: Vec<&str> = told.iter().map(|told| text(told, "/type")).collect();
    assert_eq!(kinds, ["approval.broken", "approval.overdue", "approval.reviewed", "approval.escalated"]);
    assert!(
        text(&told[0], "/data/title").starts_with("BREAK-GLASS: dev:alice runs kickoff on payroll"),
        "{told:?}"
    );
    // A role is no crew's: what its message says is told all the same.
    let escalated = text(&told[3], "/data/title");
    assert!(escalated.contains("night") && escalated.contains("goes to data-owners"), "{told:?}");
    assert!(!told.iter().any(|told| told.to_string().contains("nobody answers")), "nobody's words: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_given_a_role_for_a_while_is_told_of_before_it_ends() {
    let (listener, address) = bound().await;
    let receiver = Receiver::new(204);
    receiver.listen(listener).await;
    let more = format!("on = [\"ending\"]\nbefore = \"1h\"\n{SIGNED}");
    let tables = format!(
        "{}[[role]]\nname = \"night\"\ngroups = []\nrequest = {{ approvers = [\"data-owners\"] }}\n",
        table("desk", "webhook", address, &more)
    );
    let house = House::start(ground(tables).await).await;
    // Given for so many seconds; the approval's id.
    let given = async |seconds: u64| {
        let wish = json!({ "role": "night", "seconds": seconds, "reason": "the night" });
        let asked = house.control("POST", "/api/grants", &house.alice(), Some(wish)).await;
        assert_eq!(asked.status, 202, "{}", asked.text());
        house.approve().await
    };
    let _later = given(7200).await;
    let soon = given(60).await;
    let told = json_of(&receiver.messages(1).await[0]);
    assert_eq!((text(&told, "/type"), text(&told, "/data/approval_id")), ("grant.ending", soon.as_str()));
    assert!(text(&told, "/data/title").starts_with("the role night, given for a while, ends at "), "{told}");
    // Once, and of the longer one not yet.
    let next = given(61).await;
    let told = json_of(&receiver.messages(2).await[1]);
    assert_eq!(text(&told, "/data/approval_id"), next);
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_and_teams_get_messages_of_their_own_with_a_link_and_nothing_that_decides() {
    let ((one, slack), (two, teams)) = (bound().await, bound().await);
    let [to_slack, to_teams] = [Receiver::new(200), Receiver::new(202)];
    to_slack.listen(one).await;
    to_teams.listen(two).await;
    let on = "on = [\"asked\"]";
    let tables = [table("slack", "slack", slack, on), table("teams", "teams", teams, on)].concat();
    // A chat's address is all there is to know: it is a secret, and is given by reference.
    let tables = tables.replace(&format!("url = \"http://{slack}/hook\""), "url = { file = \"slack.url\" }");
    let ground = ground(tables).await;
    ground.folder.write("slack.url", format!("http://{slack}/hook\n"));
    let house = House::start(ground).await;
    house.ask(&house.alice()).await;
    let id = text(&house.sheet().await, "/id").to_owned();
    let link = format!("https://console.test/approvals/{id}");

    let message = json_of(&to_slack.messages(1).await[0]);
    let shown = text(&message, "/blocks/0/text/text");
    assert!(
        shown.starts_with("*kickoff on payroll waits for data-owners*\nasked by: dev:alice\n"),
        "{shown}"
    );
    assert!(shown.ends_with(&format!("\n<{link}|Read and decide in the console>")), "{shown}");
    assert!(!message.to_string().contains("\"button\""));

    let message = json_of(&to_teams.messages(1).await[0]);
    assert_eq!(text(&message, "/attachments/0/contentType"), "application/vnd.microsoft.card.adaptive");
    let card = message.pointer("/attachments/0/content").unwrap();
    assert_eq!(text(card, "/body/0/text"), "kickoff on payroll waits for data-owners");
    let actions = card.get("actions").and_then(Value::as_array).unwrap();
    assert_eq!(actions.len(), 1);
    assert_eq!(text(&actions[0], "/type"), "Action.OpenUrl");
    assert_eq!(text(&actions[0], "/url"), link);
}

/// Takes one mail as a server of RFC 5321 does; gives the commands and the message.
async fn mail_server(listener: TcpListener) -> (Vec<String>, String) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let (mut commands, mut message) = (Vec::new(), String::new());
    say(&mut stream, "220 mail.test ESMTP").await;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return (commands, message);
        }
        let command = line.trim_end().to_owned();
        match command.split([' ', ':']).next().unwrap() {
            "EHLO" => say(&mut stream, "250-mail.test\r\n250 AUTH PLAIN").await,
            "DATA" => {
                say(&mut stream, "354 go on").await;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    if line == ".\r\n" {
                        break;
                    }
                    message.push_str(&line);
                }
                say(&mut stream, "250 taken").await;
                commands.push(command);
                return (commands, message);
            }
            "AUTH" => say(&mut stream, "235 welcome").await,
            _ => say(&mut stream, "250 fine").await,
        }
        commands.push(command);
    }
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_reaches_everybody_who_is_named() {
    let (listener, address) = bound().await;
    let table = format!(
        "[[notify]]\nname = \"mail\"\nto = \"smtp\"\nserver = \"smtp://{address}\"\nusername = \"crewgate\"\n\
         password = {{ file = \"mail.password\" }}\nfrom = \"crewgate@example.com\"\n\
         recipients = [\"owners@example.com\", \"deputy@example.com\"]\non = [\"asked\"]\n{LINK}\n"
    );
    let ground = ground(table).await;
    ground.folder.write("mail.password", "correct horse\n");
    let server = tokio::spawn(mail_server(listener));
    let house = House::start(ground).await;
    house.ask(&house.alice()).await;
    let (commands, message) = tokio::time::timeout(house::PATIENCE, server).await.unwrap().unwrap();
    let said = |start: &str| commands.iter().any(|command| command.starts_with(start));
    assert!(said("MAIL FROM:<crewgate@example.com>"), "{commands:?}");
    assert!(said("RCPT TO:<owners@example.com>") && said("RCPT TO:<deputy@example.com>"), "{commands:?}");
    assert!(said(&format!("AUTH PLAIN {}", STANDARD.encode("\0crewgate\0correct horse"))), "{commands:?}");
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Subject: kickoff on payroll waits for data-owners\r\n"), "{head}");
    assert!(head.contains("To: owners@example.com, deputy@example.com\r\n"), "{head}");
    assert!(head.contains("Message-ID: <") && head.contains("@example.com>"), "{head}");
    assert!(body.lines().all(|line| line.len() <= 76));
    let text = String::from_utf8(STANDARD.decode(body.replace("\r\n", "")).unwrap()).unwrap();
    let id = house.sheet().await.get("id").and_then(Value::as_str).unwrap().to_owned();
    assert!(text.contains(&format!("https://console.test/approvals/{id}")), "{text}");
    assert!(text.contains("asked by: dev:alice"), "{text}");
}

#[test]
fn a_receiver_that_cannot_be_meant_is_told_with_its_place() {
    use crewgate_gateway::config::Settings;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let check = |table: &str| {
        let ground = runtime.block_on(ground(format!("[[notify]]\nname = \"n\"\n{table}")));
        Settings::load(&ground.config).map(|_| ()).unwrap_or_else(|error| {
            let text = error.to_string();
            assert!(text.contains("crewgate.toml:"), "{text}");
            ground.folder.write("said", text);
        });
        std::fs::read_to_string(ground.folder.path().join("said")).unwrap_or_default()
    };
    let rest = format!("on = [\"asked\"]\n{LINK}\n");
    for (table, says) in [
        (format!("to = \"pager\"\n{rest}"), "none of `webhook`, `slack`, `teams` and `smtp`"),
        (format!("to = \"slack\"\n{rest}"), "give `url`"),
        (format!("to = \"slack\"\nurl = \"http://hooks.example.com/x\"\n{rest}"), "no https address"),
        (format!("to = \"webhook\"\nurl = \"https://a.example/x\"\n{rest}"), "a webhook is signed"),
        (
            format!("to = \"slack\"\nurl = \"https://a.example/x\"\n{SIGNED}\n{rest}"),
            "`secrets` belongs to `to = \"webhook\"`",
        ),
        (
            format!(
                "to = \"webhook\"\nurl = \"https://a.example/x\"\nsecrets = [{{ file = \"payroll.key\" }}]\n{rest}"
            ),
            "no signing secret",
        ),
        (
            format!("to = \"slack\"\nurl = \"https://a.example/x\"\non = [\"lunch\"]\n{LINK}\n"),
            "none of `asked`, `broken`, `decided`, `ending`, `escalated` and `expiring`",
        ),
        (
            "to = \"slack\"\nurl = \"https://a.example/x\"\non = [\"asked\"]\nlink = \"https://a.example\"\n"
                .to_owned(),
            "leads to no approval",
        ),
        (
            format!("to = \"slack\"\nurl = \"https://a.example/x\"\napprovers = [\"nobody\"]\n{rest}"),
            "no approvers `nobody`",
        ),
        (
            format!(
                "to = \"smtp\"\nserver = \"mail.example.com\"\nfrom = \"a@b.example\"\nrecipients = [\"c@d.example\"]\n{rest}"
            ),
            "no mail server",
        ),
        (
            format!("to = \"smtp\"\nserver = \"smtps://mail.example.com\"\nfrom = \"a@b.example\"\n{rest}"),
            "mail has `recipients`",
        ),
    ] {
        let said = check(&table);
        assert!(said.contains(says), "{table}\nsays: {said}");
    }
    let good = format!("to = \"teams\"\nurl = \"https://a.example/x?sig=1\"\nbefore = \"10m\"\n{rest}");
    assert_eq!(check(&good), "");
}

#[test]
fn the_configuration_on_the_page_about_waiting_loads() {
    use crewgate_gateway::config::Settings;
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/waiting.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let tables: String = blocks.collect();
    assert!(tables.contains("longest_wait") && tables.contains("[[notify]]"), "{tables}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ground = runtime.block_on(ground(tables));
    ground.folder.write("slack.url", "https://hooks.slack.example/services/T0/B0/x\n");
    ground.folder.write("mail.password", "correct horse\n");
    let settings = Settings::load(&ground.config).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.notify.len(), 3);
}
