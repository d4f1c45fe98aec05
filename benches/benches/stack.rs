//! The whole gateway on one call, beside the same call made to the crew directly by the same client.
#![expect(clippy::unwrap_used, reason = "a bench")]

use std::{fs, path::PathBuf, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use crewgate_gateway::{DataPlane, Gateway, Running, client, config::Settings, oneshot};
use crewgate_testkit::{DevIdp, ScriptedCrew};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};

const KICKOFF: &str = r#"{"inputs":{"topic":"churn"}}"#;

struct House {
    idp: DevIdp,
    crew: ScriptedCrew,
    running: Running,
    folder: PathBuf,
}

async fn house() -> House {
    let (idp, crew) = (DevIdp::start().await.unwrap(), ScriptedCrew::start().await.unwrap());
    let folder = std::env::temp_dir().join(format!("crewgate-bench-{}", std::process::id()));
    fs::create_dir_all(folder.join("policy")).unwrap();
    fs::write(folder.join("crew.key"), crew.key()).unwrap();
    fs::write(
        folder.join("policy/all.cedar"),
        "@id(\"all\") permit (principal in Role::\"analysts\", action, resource);\n\
         @id(\"masked\") @mask(\"pii-basic\") forbid (principal, action in Action::\"read\", resource);\n",
    )
    .unwrap();
    let config = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\n[[issuer]]\nname = \"dev\"\nurl = \"{}\"\naudience = [\"crewgate\"]\n\
         [[crew]]\nname = \"support\"\nurl = \"{}\"\ncredential = {{ file = \"crew.key\" }}\n\
         inputs.topic = {{ type = \"string\" }}\n[[role]]\nname = \"analysts\"\ngroups = [\"dev:analysts\"]\n\
         [policy]\npath = \"policy\"\n[store]\nurl = \"sqlite:crewgate.db\"\n",
        idp.url(),
        crew.url()
    );
    let file = folder.join("crewgate.toml");
    fs::write(&file, config).unwrap();
    let running = Gateway::start(Settings::load(&file).unwrap()).await.unwrap();
    House { idp, crew, running, folder }
}

async fn through(plane: DataPlane, method: Method, path: &str, token: &str, body: &'static str) -> Bytes {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "gateway")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap();
    let response = oneshot(plane, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn direct(client: &client::Client, method: Method, url: &str, key: &str, body: &'static str) -> Bytes {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap().to_bytes()
}

fn id(answer: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(answer).unwrap();
    value.get("kickoff_id").unwrap().as_str().unwrap().to_owned()
}

fn stack(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let house = runtime.block_on(house());
    let client = client::build(None).unwrap();
    let token = house
        .idp
        .token()
        .subject("alice")
        .groups(["analysts"])
        .lifetime(Duration::from_secs(3000))
        .audience("crewgate")
        .sign();
    let (plane, url, key) = (house.running.plane(), house.crew.url().to_owned(), house.crew.key().to_owned());
    let own =
        id(&runtime.block_on(through(plane.clone(), Method::POST, "/support/kickoff", &token, KICKOFF)));
    let theirs =
        id(&runtime.block_on(direct(&client, Method::POST, &format!("{url}/kickoff"), &key, KICKOFF)));

    let (ours, theirs) = (format!("/support/status/{own}"), format!("{url}/status/{theirs}"));
    let mut group = criterion.benchmark_group("stack/status");
    group.bench_function("crew alone", |bench| {
        bench.to_async(&runtime).iter(|| direct(&client, Method::GET, &theirs, &key, ""));
    });
    group.bench_function("through the gateway", |bench| {
        bench.to_async(&runtime).iter(|| through(plane.clone(), Method::GET, &ours, &token, ""));
    });
    group.finish();

    let kickoff = format!("{url}/kickoff");
    let mut group = criterion.benchmark_group("stack/kickoff");
    group.bench_function("crew alone", |bench| {
        bench.to_async(&runtime).iter(|| direct(&client, Method::POST, &kickoff, &key, KICKOFF));
    });
    group.bench_function("through the gateway", |bench| {
        bench
            .to_async(&runtime)
            .iter(|| through(plane.clone(), Method::POST, "/support/kickoff", &token, KICKOFF));
    });
    group.finish();

    runtime.block_on(house.running.stop());
    let _ = fs::remove_dir_all(&house.folder);
}

criterion_group!(benches, stack);
criterion_main!(benches);
