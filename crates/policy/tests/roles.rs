//! Roles from configuration.
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use crewgate_core::{Exchanged, GrantId, Groups, Principal, PrincipalKey, RoleName, Timestamp};
use crewgate_policy::{HeldBy, HeldRole, Inclusion, Nesting, RoleBinding, RoleSource, StaticRoles};
use proptest::prelude::*;
use support::alice;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn analyst() -> Principal {
    Principal { groups: Groups::of("okta", ["analysts"]), ..alice() }
}

fn binding(role: &str) -> RoleBinding {
    RoleBinding::new(RoleName::new(role))
}

fn names(roles: &StaticRoles, principal: &Principal, now: Timestamp) -> Vec<String> {
    roles.held(principal, now).iter().map(ToString::to_string).collect()
}

#[test]
fn a_role_is_held_by_its_groups_and_subjects() {
    let groups = vec!["okta:operators".to_owned(), "okta:analysts".to_owned()];
    let roles = StaticRoles::new([
        RoleBinding { groups, ..binding("reports") },
        RoleBinding { subjects: vec!["okta:alice".to_owned()], ..binding("admin") },
        binding("nobody"),
    ]);
    let both = ["admin by subject okta:alice", "reports by group okta:analysts"];
    assert_eq!(names(&roles, &analyst(), at(0)), both);
    assert_eq!(names(&roles, &alice(), at(0)), ["admin by subject okta:alice"]);
}

#[test]
fn another_issuers_names_are_other_names() {
    let subjects = vec!["okta:alice".to_owned(), "okta:x:y".to_owned()];
    let roles = StaticRoles::new([RoleBinding {
        subjects,
        groups: vec!["okta:analysts".to_owned()],
        ..binding("r")
    }]);
    let stranger = Principal {
        key: PrincipalKey::new("entra", "alice"),
        groups: Groups::of("entra", ["analysts"]),
        ..alice()
    };
    assert!(roles.held(&stranger, at(0)).is_empty());
    // They print alike, and only one of them is meant.
    let meant = Principal { key: PrincipalKey::new("okta", "x:y"), ..alice() };
    let alike = Principal { key: PrincipalKey::new("okta:x", "y"), ..alice() };
    assert_eq!((roles.held(&meant, at(0)).len(), roles.held(&alike, at(0)).len()), (1, 0));
}

#[test]
fn a_role_begins_and_ends_at_its_instants() {
    let subjects = vec!["okta:alice".to_owned()];
    let roles =
        StaticRoles::new([RoleBinding { subjects, from: Some(at(10)), until: Some(at(20)), ..binding("r") }]);
    let held = |now| !roles.held(&alice(), now).is_empty();
    let just_before = |secs| Timestamp::from_micros(at(secs).as_micros() - 1);
    assert_eq!(
        [just_before(10), at(10), just_before(20), at(20), at(86420)].map(held),
        [false, true, true, false, false]
    );
}

#[tokio::test]
async fn a_role_bound_twice_is_held_to_its_later_end() {
    let bound = |until: Option<i64>| RoleBinding {
        subjects: vec!["okta:alice".to_owned()],
        until: until.map(at),
        ..binding("r")
    };
    for (ends, expected) in [
        (vec![Some(10), Some(20)], Some(20)),
        (vec![Some(20), Some(10)], Some(20)),
        (vec![Some(10), None], None),
        (vec![None, Some(10)], None),
    ] {
        let roles = StaticRoles::new(ends.into_iter().map(bound));
        let held = roles.roles(&alice(), None, at(5)).await.unwrap();
        assert_eq!(held.iter().map(|role| role.until).collect::<Vec<_>>(), [expected.map(at)]);
    }
}

fn includes(role: &str, other: &str) -> Inclusion {
    Inclusion::new(RoleName::new(role), RoleName::new(other))
}

fn role(name: &str, by: HeldBy, until: Option<i64>) -> HeldRole {
    HeldRole { until: until.map(at), ..HeldRole::new(RoleName::new(name), by) }
}

fn grant(narrowed: bool) -> HeldBy {
    HeldBy::Grant { id: GrantId::random(), narrowed }
}

fn group() -> HeldBy {
    HeldBy::Group("okta:leads".to_owned())
}

#[test]
fn whoever_holds_a_role_holds_what_it_includes_and_knows_through_what() {
    let nesting =
        Nesting::new([includes("head", "lead"), includes("lead", "reports"), includes("lead", "status")]);
    let roles =
        StaticRoles::new([RoleBinding { subjects: vec!["okta:alice".to_owned()], ..binding("head") }])
            .nested(nesting.unwrap());
    let expected = [
        "head by subject okta:alice",
        "lead by subject okta:alice, through head",
        "reports by subject okta:alice, through head → lead",
        "status by subject okta:alice, through head → lead",
    ];
    assert_eq!(names(&roles, &alice(), at(0)), expected);
    // And nothing upwards.
    let roles =
        StaticRoles::new([RoleBinding { subjects: vec!["okta:alice".to_owned()], ..binding("lead") }])
            .nested(roles.nesting().clone());
    assert_eq!(names(&roles, &alice(), at(0)).len(), 3);
}

#[test]
fn a_circle_is_named() {
    let circle = |inclusions: &[(&str, &str)]| {
        Nesting::new(inclusions.iter().map(|(a, b)| includes(a, b))).unwrap_err().to_string()
    };
    let told = "roles include each other in a circle: ";
    assert_eq!(circle(&[("a", "a")]), format!("{told}a → a"));
    assert_eq!(circle(&[("a", "b"), ("b", "c"), ("c", "b"), ("x", "y")]), format!("{told}b → c → b"));
    assert_eq!(circle(&[("z", "a"), ("a", "b"), ("b", "c"), ("c", "a")]), format!("{told}a → b → c → a"));
    // Two ways to one role are no circle.
    assert!(
        Nesting::new([includes("a", "b"), includes("a", "c"), includes("b", "d"), includes("c", "d")])
            .is_ok()
    );
    // Dates move: an inclusion that is over can come back with an edit.
    let over = Inclusion { until: Some(at(1)), ..includes("b", "a") };
    assert!(Nesting::new([includes("a", "b"), Inclusion { from: Some(at(2)), ..over }]).is_err());
}

#[test]
fn a_chain_may_be_long() {
    let name = |n: usize| RoleName::new(format!("r{n:06}"));
    let nesting = Nesting::new((0..20_000).map(|n| Inclusion::new(name(n), name(n + 1)))).unwrap();
    assert_eq!(nesting.inclusions(&name(7)).len(), 1);
    let circle =
        Nesting::new((0..20_000).map(|n| Inclusion::new(name(n), name((n + 1) % 20_000)))).unwrap_err();
    assert_eq!(circle.0.len(), 20_001);
}

#[test]
fn a_nested_role_lasts_as_long_as_its_tightest_step_and_its_longest_way() {
    let dated = |a: &str, b: &str, until| Inclusion { until: Some(at(until)), ..includes(a, b) };
    let nesting =
        Nesting::new([dated("long", "shared", 50), includes("short", "shared"), includes("shared", "leaf")])
            .unwrap();
    let held = |now| {
        let direct = [role("long", group(), Some(90)), role("short", group(), Some(40))];
        let held = nesting.expand(direct, at(now));
        held.into_iter()
            .map(|role| (role.name.to_string(), role.until.map(Timestamp::as_secs)))
            .collect::<Vec<_>>()
    };
    let found = |list: &[(&str, i64)]| {
        list.iter().map(|(name, end)| ((*name).to_owned(), Some(*end))).collect::<Vec<_>>()
    };
    assert_eq!(held(0), found(&[("leaf", 50), ("long", 90), ("shared", 50), ("short", 40)]));
    assert_eq!(held(40), found(&[("leaf", 50), ("long", 90), ("shared", 50)]));
    assert_eq!(held(50), found(&[("long", 90)]));
    assert_eq!(held(90), []);
}

#[test]
fn a_standing_right_is_relied_on_before_one_that_is_spent() {
    let nesting = Nesting::new([includes("lead", "reports")]).unwrap();
    let by = |ways: Vec<HeldRole>| {
        let held = nesting.expand(ways, at(0));
        held.into_iter().find(|role| role.name.as_str() == "reports").unwrap().by
    };
    let (narrow, wide) = (grant(true), grant(false));
    // Wide before narrow, even where the narrow one lasts longer.
    assert_eq!(by(vec![role("reports", narrow.clone(), None), role("lead", wide.clone(), Some(9))]), wide);
    // A binding before a grant of the same end; the grant where it lasts longer.
    assert_eq!(by(vec![role("reports", wide.clone(), Some(9)), role("lead", group(), Some(9))]), group());
    assert_eq!(by(vec![role("reports", wide.clone(), Some(9)), role("lead", group(), Some(8))]), wide);
    assert_eq!(by(vec![role("reports", narrow.clone(), Some(9))]), narrow);
}

proptest! {
    /// Against the plain definition: a role is held when a path of standing steps leads to it, until the end of the
    /// path that lasts longest.
    #[test]
    fn nesting_is_the_closure_and_nothing_else(
        edges in proptest::collection::vec((0..6_u8, 1..6_u8, 0..30_i64, 0..30_i64), 0..12),
        direct in proptest::collection::vec((0..7_u8, 0..30_i64, 0..30_i64), 0..5),
        now in 0..30_i64,
    ) {
        // Edges lead to higher numbers only: no circles.
        let name = |n: u8| RoleName::new(format!("r{n}"));
        let edges: Vec<_> = edges.into_iter().map(|(a, step, from, until)| (a, (a + step).min(6), from, until)).collect();
        let edges: Vec<_> = edges.into_iter().filter(|(a, b, ..)| a < b).collect();
        let nesting = Nesting::new(edges.iter().map(|(a, b, from, until)| Inclusion {
            from: Some(at(*from)), until: Some(at(*until)), ..Inclusion::new(name(*a), name(*b))
        })).unwrap();
        let held = nesting.expand(direct.iter().map(|(role, from, until)| HeldRole {
            from: Some(at(*from)), until: Some(at(*until)), ..HeldRole::new(name(*role), group())
        }), at(now));

        let mut best = [None::<i64>; 7];
        for (role, from, until) in &direct {
            if *from <= now && now < *until {
                best[usize::from(*role)] = best[usize::from(*role)].max(Some(*until));
            }
        }
        for role in 0..7_u8 {
            for (a, b, from, until) in &edges {
                if *a == role && *from <= now && now < *until && let Some(end) = best[usize::from(role)] {
                    best[usize::from(*b)] = best[usize::from(*b)].max(Some(end.min(*until)));
                }
            }
        }
        for role in 0..7_u8 {
            let found: Vec<_> = held.iter().filter(|held| held.name == name(role)).collect();
            prop_assert_eq!(found.len(), usize::from(best[usize::from(role)].is_some()));
            prop_assert_eq!(found.first().and_then(|held| held.until), best[usize::from(role)].map(at));
        }
        for role in &held {
            prop_assert!(role.holds_at(at(now)));
            for pair in role.through.iter().chain([&role.name]).collect::<Vec<_>>().windows(2) {
                prop_assert!(nesting.inclusions(pair[0]).iter().any(|step| step.includes == *pair[1]));
            }
        }
    }

    #[test]
    fn nothing_is_held_outside_its_time(
        spans in proptest::collection::vec((0..3_u8, 0..50_i64, 0..50_i64), 0..6), now in 0..50_i64,
    ) {
        let bindings = spans.iter().map(|(role, from, until)| RoleBinding {
            subjects: vec!["okta:alice".to_owned()],
            from: Some(at(*from)),
            until: Some(at(*until)),
            ..binding(&format!("r{role}"))
        });
        let roles = StaticRoles::new(bindings);
        let held: Vec<_> = roles.held(&alice(), at(now)).into_iter().map(|role| role.name).collect();
        for role in 0..3_u8 {
            let running = spans.iter().any(|(r, from, until)| *r == role && *from <= now && now < *until);
            prop_assert_eq!(held.contains(&RoleName::new(format!("r{role}"))), running);
        }
    }
}

#[test]
fn an_exchanged_token_counts_for_the_roles_it_was_narrowed_to_and_what_they_include() {
    let by_group = |role: &str| RoleBinding { groups: vec!["okta:analysts".to_owned()], ..binding(role) };
    let nesting = Nesting::new([Inclusion::new(RoleName::new("lead"), RoleName::new("summaries"))]).unwrap();
    let roles = StaticRoles::new([by_group("lead"), by_group("owners")]).nested(nesting);
    let held = |left: Option<&[&str]>| {
        let mut principal = analyst();
        let left = left.map(|left| left.iter().map(|role| RoleName::new(*role)).collect());
        principal.token.exchanged = left.map(|roles| Exchanged { roles });
        let held = roles.held(&principal, at(0));
        held.into_iter().map(|role| role.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(held(None), ["lead", "owners", "summaries"]);
    assert_eq!(held(Some(&["lead"])), ["lead", "summaries"]);
    assert_eq!(held(Some(&["summaries"])), ["summaries"], "held through a role that does not count itself");
    // Nothing is held that was not held without it.
    assert_eq!(held(Some(&["admin"])), [""; 0]);
    assert_eq!(held(Some(&[])), [""; 0]);
}
