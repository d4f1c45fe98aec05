//! `login`, `logout`, `token print`, `doctor`, and commands that use one's own token.

use std::{os::unix::fs::PermissionsExt as _, sync::atomic::Ordering, time::Duration};

use crewgate_testkit::DevIdp;
use serde_json::Value;

use crate::{
    desk::{Desk, TokenService, ended, printed},
    house::{Ground, House, Plan},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_person_signs_in_with_a_code_and_scripts_print_a_token_that_counts() {
    let house = House::open().await;
    let desk = Desk::at(&house.idp);
    let text = ended(&desk.run(&["token", "print"]), 1);
    assert!(text.contains("nobody is signed in") && text.contains("crewgate login"), "{text}");

    ended(&desk.sign_in(&house.idp, "alice", &["analysts"]), 0);
    let file = desk.login_file("default");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = printed(&desk.run(&["token", "print"]));
    assert_eq!(house.get("/support/inputs", &token).await.status, 200);
    assert_eq!(printed(&desk.run(&["token", "print"])), token, "a token that counts is not renewed");
    assert_eq!(house.idp.granted(), 1);

    // Four fifths of five minutes later it is renewed, and the refresh token rotates.
    for grants in [2, 3] {
        desk.age_login("default", 241);
        let next = printed(&desk.run(&["token", "print"]));
        assert_ne!(next, token);
        assert_eq!((house.idp.granted(), house.idp.logins()), (grants, 1));
        assert_eq!(house.get("/support/inputs", &next).await.status, 200);
    }

    let json: Value = serde_json::from_slice(&desk.run(&["token", "print", "--json"]).stdout).unwrap();
    assert!(json.get("token").is_some() && json.get("expires").is_some());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_commands_at_once_renew_a_login_once() {
    let idp = DevIdp::start().await.unwrap();
    let desk = Desk::at(&idp);
    ended(&desk.sign_in(&idp, "alice", &[]), 0);
    desk.age_login("default", 300);
    let outputs = tokio::task::block_in_place(|| {
        let children: Vec<_> = (0..8).map(|_| desk.spawn(&["token", "print"], &[])).collect();
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect::<Vec<_>>()
    });
    let tokens: std::collections::BTreeSet<_> = outputs.iter().map(printed).collect();
    assert_eq!((tokens.len(), idp.granted(), idp.logins()), (1, 2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_that_cannot_be_renewed_says_who_must_do_what() {
    let idp = DevIdp::start().await.unwrap();
    let desk = Desk::at(&idp);
    ended(&desk.login(|code| assert!(idp.deny_device(code))), 1);
    ended(&desk.sign_in(&idp, "alice", &[]), 0);
    let token = printed(&desk.run(&["token", "print"]));

    // Due, while the provider is down: the old token still counts. Ended: it does not.
    idp.set_down(true);
    desk.age_login("default", 250);
    assert_eq!(printed(&desk.run(&["token", "print"])), token);
    desk.age_login("default", 50);
    ended(&desk.run(&["token", "print"]), 3);
    idp.set_down(false);
    assert_ne!(printed(&desk.run(&["token", "print"])), token);

    idp.end_logins();
    desk.age_login("default", 300);
    let text = ended(&desk.run(&["token", "print"]), 1);
    assert!(text.contains("crewgate login"), "{text}");

    // Of another client: its refresh token goes nowhere.
    ended(&desk.sign_in(&idp, "alice", &[]), 0);
    desk.age_login("default", 300);
    let grants = idp.granted();
    ended(&desk.run(&["token", "print", "--client-id", "another"]), 1);
    assert_eq!((idp.granted(), idp.logins()), (grants, 1));

    let file = desk.login_file("default");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let text = ended(&desk.run(&["token", "print"]), 2);
    assert!(text.contains("0640"), "{text}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "{\"issuer\":").unwrap();
    ended(&desk.run(&["token", "print"]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logout_forgets_the_login_and_tells_the_issuer() {
    let idp = DevIdp::start().await.unwrap();
    let desk = Desk::at(&idp);
    ended(&desk.sign_in(&idp, "alice", &[]), 0);
    let report: Value = serde_json::from_slice(&desk.run(&["logout", "--json"]).stdout).unwrap();
    assert_eq!(report.get("issuer_told"), Some(&Value::Bool(true)), "{report}");
    assert_eq!((idp.logins(), desk.login_file("default").exists()), (0, false));
    let text = ended(&desk.run(&["logout"]), 0);
    assert!(text.contains("nobody was signed in"), "{text}");

    // The provider is down: it is forgotten here all the same, and said so.
    ended(&desk.sign_in(&idp, "alice", &[]), 0);
    idp.set_down(true);
    let text = ended(&desk.run(&["logout"]), 0);
    assert!(text.contains("the issuer was not told") && !desk.login_file("default").exists(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_github_job_asks_its_token_service_for_the_gateways_audience() {
    let house = House::open().await;
    let service = TokenService::start(&house.idp).await;
    let desk = Desk::new("source = \"github\"\n");
    let (url, token) = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN");
    let job = [(url, service.url.as_str()), (token, "of-the-job")];
    let ask = ["token", "print", "--audience", "crewgate"];
    let brought = printed(&desk.run_with(&ask, &job));
    assert_eq!(house.get("/support/inputs", &brought).await.status, 403, "known, without a role");
    let text = ended(&desk.run_with(&["token", "print"], &job), 2);
    assert!(text.contains("`audience` is missing"), "{text}");
    let text = ended(&desk.run(&ask), 2);
    assert!(text.contains("id-token: write"), "{text}");
    ended(&desk.run_with(&ask, &[(url, service.url.as_str()), (token, "of-another")]), 1);
    ended(&desk.run_with(&ask, &[(url, "http://tokens.example/t"), (token, "of-the-job")]), 2);
    for (status, code) in [(403, 1), (500, 3)] {
        service.status.store(status, Ordering::SeqCst);
        ended(&desk.run_with(&ask, &job), code);
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gitlab_job_and_a_pod_use_the_token_they_are_given() {
    let idp = DevIdp::start().await.unwrap();
    let (good, ended_token) = (idp.token().sign(), idp.token().expired().sign());
    let gitlab = Desk::new("source = \"gitlab\"\n");
    let print = ["token", "print"];
    assert_eq!(printed(&gitlab.run_with(&print, &[("CREWGATE_TOKEN", &good)])), good);
    let own = ["token", "print", "--token-env", "JOB_TOKEN"];
    assert_eq!(printed(&gitlab.run_with(&own, &[("JOB_TOKEN", &good)])), good);
    ended(&gitlab.run(&print), 2);
    ended(&gitlab.run_with(&print, &[("CREWGATE_TOKEN", &ended_token)]), 3);
    ended(&gitlab.run_with(&print, &[("CREWGATE_TOKEN", "no token")]), 2);

    let pod = Desk::new("source = \"kubernetes\"\ntoken_file = \"token\"\n");
    ended(&pod.run(&print), 3);
    pod.folder().write("crewgate/token", format!("{good}\n"));
    assert_eq!(printed(&pod.run(&print)), good);
    pod.folder().write("crewgate/token", &ended_token);
    ended(&pod.run(&print), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_program_asks_with_its_secret() {
    let idp = DevIdp::start().await.unwrap();
    let desk = Desk::new(&format!(
        "issuer = \"{}\"\n[profile.nightly]\nsource = \"client-credentials\"\nclient_id = \"nightly\"\n\
         client_secret = {{ file = \"nightly.secret\" }}\n",
        idp.url()
    ));
    let print = ["token", "print", "--profile", "nightly"];
    ended(&desk.run(&print), 2);
    desk.folder().write("crewgate/nightly.secret", "nightly-secret\n");
    printed(&desk.run(&print));
    desk.folder().write("crewgate/nightly.secret", "wrong\n");
    ended(&desk.run(&print), 1);
    let other = [&print[..], &["--client-secret-env", "SECRET"]].concat();
    printed(&desk.run_with(&other, &[("SECRET", "nightly-secret")]));
    idp.set_down(true);
    ended(&desk.run_with(&other, &[("SECRET", "nightly-secret")]), 3);
    // Another issuer's metadata at this address: nobody's endpoints get the secret.
    idp.set_down(false);
    let grants = idp.granted();
    let slash = format!("{}/", idp.url());
    ended(&desk.run_with(&[&other[..], &["--issuer", &slash]].concat(), &[("SECRET", "nightly-secret")]), 3);
    assert_eq!(idp.granted(), grants);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_with_ones_own_token_use_the_login() {
    let house = House::open().await;
    house.ask(&house.alice()).await;
    let desk = Desk::at(&house.idp);
    ended(&desk.sign_in(&house.idp, "dora", &["data-owners"]), 0);
    let console = format!("http://{}", house.running.console().unwrap());
    let list = ["approvals", "list", "--console", &console, "--json"];
    let answer: Value = serde_json::from_slice(&desk.run(&list).stdout).unwrap();
    assert_eq!(answer.get("waiting").and_then(Value::as_array).map(Vec::len), Some(1), "{answer}");
    // A token that is given counts before the login, also when it is none.
    ended(&desk.run_with(&list, &[("CREWGATE_TOKEN", &house.alice())]), 0);
    ended(&desk.run_with(&list, &[("CREWGATE_TOKEN", "nonsense")]), 1);
    ended(&desk.run(&[&list[..], &["--token-env", "ABSENT"]].concat()), 2);
    // The address may stand in the settings.
    let text = format!("console = \"{console}\"\nissuer = \"{}\"\nclient_id = \"cli\"\n", house.idp.url());
    desk.folder().write("crewgate/client.toml", text);
    ended(&desk.run(&["grants", "list"]), 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_doctor_names_what_is_wrong() {
    let house = House::with(Plan::default()).await;
    let other = DevIdp::start().await.unwrap();
    let gateway = format!("http://{}", house.data());
    let desk = Desk::new("source = \"gitlab\"\n");
    let ask = |crew: &str, token: &str| {
        let arguments = ["doctor", crew, "--gateway", &gateway, "--json"];
        let output = desk.run_with(&arguments, &[("CREWGATE_TOKEN", token)]);
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        let wrong: Vec<String> = findings
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding.get("ok") == Some(&Value::Bool(false)))
            .map(|finding| finding.get("check").and_then(Value::as_str).unwrap().to_owned())
            .collect();
        assert_eq!(output.status.success(), wrong.is_empty(), "{findings}");
        wrong
    };
    assert!(ask("support", &house.alice()).is_empty());
    assert_eq!(ask("support", &house.dora()), ["crew"]);
    assert_eq!(ask("support", &other.token().sign()), ["accepted"]);
    assert_eq!(ask("support", &house.idp.token().lifetime(Duration::ZERO).sign()), ["token"]);
    house.stop().await;
    let output = desk.run_with(&["doctor", "--gateway", &gateway], &[("CREWGATE_TOKEN", "t")]);
    let text = ended(&output, 1);
    assert!(text.contains("NO   gateway"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_jobs_token_is_exchanged_for_one_that_counts_for_a_role() {
    let tables = "[exchange]\nkeys = [{ file = \"exchange.pem\" }]\nissuers = [\"dev\"]\nonce = [\"dev\"]\n";
    let ground = Ground::lay(Plan { tables: tables.to_owned(), ..Plan::default() }).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    ground.folder.write("exchange.pem", key.serialize_pem());
    // Its issuer is its address, which must be known before it starts.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(&ground.config).unwrap();
    let listen = format!("[gateway]\nlisten = \"{free}\"");
    std::fs::write(&ground.config, text.replace("[gateway]\nlisten = \"127.0.0.1:0\"", &listen)).unwrap();
    let house = House::start(ground).await;

    let gateway = format!("http://{}", house.data());
    let desk = Desk::new(&format!("gateway = \"{gateway}\"\nsource = \"gitlab\"\nexchange = true\n"));
    let job = house.idp.token().subject("job").groups(["analysts"]).claim("jti", "job-1").sign();
    let ask = ["token", "print", "--role", "analysts"];
    let job = [("CREWGATE_TOKEN", job.as_str())];
    let text = ended(&desk.run_with(&["token", "print"], &job), 2);
    assert!(text.contains("`roles` is missing"), "{text}");
    let token = printed(&desk.run_with(&ask, &job));
    assert_ne!(token, job[0].1);
    assert_eq!(house.get("/support/inputs", &token).await.status, 200);
    let text = ended(&desk.run_with(&ask, &job), 1);
    assert!(text.contains("invalid_request"), "a job's token is exchanged once: {text}");
    house.stop().await;
}
