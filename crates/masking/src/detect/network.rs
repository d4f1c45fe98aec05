use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Anchor, Detector, Entity, Match, Tail,
    boundary::{in_word, outside_words},
};

pub(super) const TABLE: &[Detector] = &[IPV4, IPV6];

const IPV4: Detector = Detector {
    name: "ipv4",
    entity: Entity::IpAddress,
    anchor: Anchor::Digits(4),
    pattern: r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:\.[0-9]?)?",
    // `1.2.3.4.5` holds no address
    begins_behind: |before| before.is_none_or(|c| outside_words(c) && !matches!(c, '.' | ':')),
    validate: address,
    tail: Tail::None,
    context: &[],
    #[cfg(test)]
    examples: &["203.0.113.7", "10.20.30.40"],
    #[cfg(test)]
    counter_examples: &["127.0.0.1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "0.0.0.0", "224.0.0.1"],
};

const IPV6: Detector = Detector {
    name: "ipv6",
    entity: Entity::IpAddress,
    anchor: Anchor::Hex,
    pattern: r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]+",
    begins_behind: |before| before.is_none_or(|c| outside_words(c) && !matches!(c, '.' | ':')),
    validate: address,
    tail: Tail::None,
    context: &[],
    #[cfg(test)]
    examples: &["2001:db8::7", "fe80::1:2:3:4", "::ffff:203.0.113.7"],
    #[cfg(test)]
    counter_examples: &["12:30:45", "::1", "a::b::c", "::", "std::fmt"],
};

/// An address that is neither loopback, unspecified nor multicast.
fn address(found: &Match<'_>) -> Option<usize> {
    // A full stop or colon behind the address ends a sentence, not the address.
    let text = found.text.trim_end_matches(['.', ':']);
    let address = match text.parse::<Ipv4Addr>() {
        Ok(v4) => IpAddr::V4(v4),
        Err(_) => IpAddr::V6(text.parse::<Ipv6Addr>().ok()?),
    };
    let nobodys = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    let behind = found.text.get(text.len()..)?;
    let ends = match behind.len() {
        0 => !found.next.is_some_and(in_word),
        1 => !found.next.is_some_and(|c| c.is_ascii_digit()),
        _ => false,
    };
    (!nobodys && ends).then_some(text.len())
}
