//! Tokens of jobs and workloads. Names can be given to others, so what is believed are the numbers behind them; and
//! a job that a stranger's change set off is a stranger's job.

use crate::{
    IssuerConfig, Reason, Rejection,
    json::{Json, Object},
};

/// Events whose jobs run on, or with the words of, a change that anybody may have proposed.
const GITHUB_STRANGERS: [&str; 5] = [
    "pull_request",
    "pull_request_target",
    "pull_request_review",
    "pull_request_review_comment",
    // Follows another workflow, whose event may be one of these and is not told; and says no more of it.
    "workflow_run",
];

/// Since 2025 GitLab's `project_*` claims of such a pipeline name the fork, the ref is its author's choice.
const GITLAB_STRANGERS: [&str; 2] = ["merge_request_event", "external_pull_request_event"];

pub(crate) fn check_github(
    config: &IssuerConfig,
    claims: &Object<'_>,
    subject: &str,
) -> Result<(), Rejection> {
    let owner = number(claims, "repository_owner_id")?;
    let repository = number(claims, "repository_id")?;
    let event = text(claims, "event_name").ok_or_else(|| wrong("event_name", "nothing"))?;
    // Whatever the event is called: what runs is what the pull request brought.
    let proposed = text(claims, "ref").is_some_and(|at| at.starts_with("refs/pull/"));
    if (proposed || GITHUB_STRANGERS.contains(&event)) && !config.pull_requests {
        return Err(wrong("a job that no pull request set off", event));
    }
    // The newer format of `sub` repeats the numbers: `repo:org@1/repo@2:…`. It must not contradict them.
    let place = subject.strip_prefix("repo:").and_then(|rest| rest.split(':').next()).unwrap_or_default();
    let Some((org, repo)) = place.split_once('/') else {
        return Err(wrong("a sub that begins with repo:<owner>/<repository>:", subject));
    };
    for (name, id) in [(org, owner), (repo, repository)] {
        if name.split_once('@').is_some_and(|(_, stated)| stated != id) {
            return Err(wrong("the numbers of the claims in sub too", subject));
        }
    }
    Ok(())
}

pub(crate) fn github_groups(claims: &Object<'_>) -> Vec<String> {
    let Some(repository) = text(claims, "repository_id") else { return Vec::new() };
    let base = format!("repository:{repository}");
    let parts = [
        ("environment", "environment"),
        ("job_workflow_ref", "workflow"),
        ("ref", "ref"),
        ("runner_environment", "runner"),
    ];
    let scoped = parts
        .iter()
        .filter_map(|(claim, word)| text(claims, claim).map(|value| format!("{base}:{word}:{value}")));
    let owner = text(claims, "repository_owner_id").map(|owner| format!("owner:{owner}"));
    owner.into_iter().chain([base.clone()]).chain(scoped).collect()
}

pub(crate) fn check_gitlab(config: &IssuerConfig, claims: &Object<'_>) -> Result<(), Rejection> {
    number(claims, "project_id")?;
    number(claims, "namespace_id")?;
    let source = text(claims, "pipeline_source").ok_or_else(|| wrong("pipeline_source", "nothing"))?;
    if GITLAB_STRANGERS.contains(&source) && !config.pull_requests {
        return Err(wrong("a job that no merge request set off", source));
    }
    // A string, and by its words alone: `false` would be true to a careless reader.
    match claims.get("ref_protected") {
        Some(Json::String(word)) if word == "true" || word == "false" => Ok(()),
        Some(other) => Err(wrong("ref_protected as the string true or false", other.kind())),
        None => Err(wrong("ref_protected", "nothing")),
    }
}

pub(crate) fn gitlab_groups(claims: &Object<'_>) -> Vec<String> {
    let Some(project) = text(claims, "project_id") else { return Vec::new() };
    let base = format!("project:{project}");
    let protected = text(claims, "ref_protected") == Some("true");
    let place = match (text(claims, "ref_type"), text(claims, "ref")) {
        (Some(kind), Some(name)) => Some(format!("{base}:{kind}:{name}")),
        _ => None,
    };
    let environment = text(claims, "environment").map(|name| format!("{base}:environment:{name}"));
    let namespace = text(claims, "namespace_id").map(|id| format!("namespace:{id}"));
    let guarded = protected.then(|| format!("{base}:protected"));
    namespace.into_iter().chain([base.clone()]).chain(guarded).chain(place).chain(environment).collect()
}

/// The nested claims are what the API server knows; `sub` must agree with them.
pub(crate) fn check_kubernetes(claims: &Object<'_>, subject: &str) -> Result<(), Rejection> {
    let (Some(namespace), Some(account)) =
        (kubernetes(claims, &["namespace"]), kubernetes(claims, &["serviceaccount", "name"]))
    else {
        return Err(wrong("kubernetes.io with namespace and serviceaccount", "another shape"));
    };
    let expected = format!("system:serviceaccount:{namespace}:{account}");
    if subject != expected {
        return Err(wrong(&format!("sub {expected}"), subject));
    }
    // A token without a pod is one somebody asked for and may have taken away.
    for path in [["serviceaccount", "uid"], ["pod", "uid"]] {
        if kubernetes(claims, &path).is_none() {
            return Err(wrong("a token bound to a pod", &format!("no kubernetes.io.{}", path.join("."))));
        }
    }
    Ok(())
}

pub(crate) fn kubernetes_groups(claims: &Object<'_>) -> Vec<String> {
    kubernetes(claims, &["namespace"]).map(|name| format!("namespace:{name}")).into_iter().collect()
}

fn kubernetes<'a>(claims: &'a Object<'a>, path: &[&str]) -> Option<&'a str> {
    let own = claims.get("kubernetes.io")?;
    let found = path.iter().try_fold(own, |value, name| match value {
        Json::Object(inner) => inner.get(name),
        _ => None,
    });
    found.and_then(Json::as_str)
}

fn text<'a>(claims: &'a Object<'a>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Json::as_str)
}

/// An immutable number, which these providers write as a string.
fn number<'a>(claims: &'a Object<'a>, name: &str) -> Result<&'a str, Rejection> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text(claims, name).filter(digits).ok_or_else(|| {
        wrong(&format!("{name} as a string of digits"), claims.get(name).map_or("nothing", Json::kind))
    })
}

fn wrong(expected: &str, found: &str) -> Rejection {
    Rejection::new(Reason::Requirement).expecting(expected).finding(found)
}
