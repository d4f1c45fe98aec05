//! Roles from configuration.
#![allow(dead_code, reason = "each test crate uses its part of the support module")]

mod support;

use crewgate_core::{Group, Principal, PrincipalKey, RoleName, Timestamp};
use crewgate_policy::{RoleBinding, RoleSource, StaticRoles};
use proptest::prelude::*;
use support::alice;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn analyst() -> Principal {
    Principal { groups: [Group::new("okta", "analysts")].into(), ..alice() }
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
        groups: [Group::new("entra", "analysts")].into(),
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

proptest! {
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
