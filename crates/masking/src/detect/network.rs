//! Addresses of machines.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Anchor, Match,
    boundary::{in_word, outside_words},
    detector::detectors,
};

detectors! {
    "ipv4" => IpAddress {
        anchor: Anchor::Digits(4),
        pattern: r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2}|\.[0-9]{0,3})?",
        // `1.2.3.4.5` holds no address
        begins: |before| before.is_none_or(|c| outside_words(c) && !matches!(c, '.' | '-')),
        validate: |found, _| ipv4(found),
        finds: ["203.0.113.7", "10.20.30.40", "127.0.0.1", "⟦192.168.1.1⟧.", "⟦10.0.0.0/8⟧", "http://⟦10.1.2.3⟧:80/"],
        leaves: ["1.2.3", "1.2.3.4.5", "256.1.1.1", "version 1.2.3.4", "v1.2.3.4", "Chrome/120.0.0.0", "01.02.03.004"],
    }
    // Before IPv6: eight octets are no address, though they could be one.
    "mac" => MacAddress {
        anchor: Anchor::Hex,
        pattern: r"[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5,7}|(?:-[0-9A-Fa-f]{2}){5,7}|(?: [0-9A-Fa-f]{2}){5,7})|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}",
        begins: |before| before.is_none_or(|c| outside_words(c) && !matches!(c, ':' | '-' | '.')),
        validate: mac,
        near: &["mac ", "hardware", "ethernet", "physical", "device", "bssid", "mac"],
        finds: [
            "01:02:03:04:05:ab", "00-1A-2B-3C-4D-5E", "\"device_mac\": \"⟦6c 48 bb f3 3f ef⟧\"", "6c48.bbf3.3fef", "ab:ab:ab:ab:ab:ab:ab:ab",
            "01 02 03 04 05 ab",
        ],
        leaves: ["00:00:00:00:00:00", "ZZ:ZZ:ZZ:ZZ:ZZ:ZZ", "01:02:03:04:05", "10 20 30 40 50 60", "01:02:03:04:05:06:07:08:09", "we 01 02 03 04 05 06"],
    }
    "ipv6" => IpAddress {
        anchor: Anchor::Hex,
        // What begins otherwise or is much longer than 45 characters is no address (RFC 4291 section 2.2).
        pattern: r"(?:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:|::)[0-9A-Fa-f:.]{0,64}(?:%[0-9A-Za-z]{1,15})?(?:/[0-9]{1,3})?",
        begins: |before| before.is_none_or(|c| outside_words(c) && !matches!(c, '.' | ':')),
        validate: |found, _| ipv6(found),
        finds: [
            "2001:db8::7", "fe80::1:2:3:4", "::ffff:203.0.113.7", "fe80::7:8%eth0", "::1", "[⟦2001:db8::1⟧]:443", "2001:db8::/32",
            "64:ff9b::192.0.2.33", "⟦2001:db8::1⟧, and",
        ],
        leaves: ["12:30:45", "a::b::c", "std::fmt", "x :: y", "abc:def:ghi", "1:2:3:4", "dead::fmt"],
    }
    "mac-bare" => MacAddress {
        anchor: Anchor::Token(12),
        pattern: r"[0-9A-Fa-f]{12}",
        validate: |found, near| {
            let mixed = found.text.contains(|c: char| c.is_ascii_alphabetic()) && found.text.contains(|c: char| c.is_ascii_digit());
            if mixed && (found.is_whole_text() || found.labelled(near)) { found.whole_number() } else { None }
        },
        near: &["mac ", "macaddress", "bssid"],
        finds: ["mac: ⟦01AB03040506⟧", "0102030405ab"],
        leaves: ["commit 01ab03040506", "010203040506"],
    }
    "uuid" => Uuid {
        anchor: Anchor::Token(36),
        pattern: r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
        validate: |found, _| found.whole_number(),
        finds: ["9deb20fe-a6e0-455c-81ea-288b009e4f6d"],
        leaves: ["9deb20fe-a6e0-455c-81ea-288b009e4f6", "9deb20fea6e0455c81ea288b009e4f6d"],
    }
}

fn ipv4(found: &Match<'_>) -> Option<usize> {
    let text = found.text.trim_end_matches('.');
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    address.parse::<Ipv4Addr>().ok()?;
    let len = if bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= 32)) {
        text.len()
    } else {
        address.len()
    };
    let ends = text.len() < found.text.len() || !found.next.is_some_and(in_word);
    // Versions have the same shape.
    let product = found
        .before
        .strip_suffix('/')
        .is_some_and(|before| before.ends_with(|c: char| c.is_ascii_alphabetic()));
    let version = product || found.labelled(&["version", "release", "v ", "build"]);
    (ends && !version).then_some(len)
}

fn ipv6(found: &Match<'_>) -> Option<usize> {
    // A full stop or colon behind the address ends a sentence, not the address.
    let text = found.text.trim_end_matches('.');
    let text = if text.ends_with("::") { text } else { text.trim_end_matches(':') };
    let address = text.split(['%', '/']).next()?;
    address.parse::<Ipv6Addr>().ok()?;
    let ends = text.len() < found.text.len() || !found.next.is_some_and(|c| in_word(c) || c == ':');
    // `::` alone is punctuation of many languages.
    let bare = text.bytes().all(|b| b == b':') && !found.is_whole_text();
    (ends && !bare).then_some(text.len())
}

fn mac(found: &Match<'_>, near: &[&str]) -> Option<usize> {
    let hex: Vec<u8> = found.text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let nobodys = hex.iter().all(|b| *b == b'0');
    let spaced = found.text.contains(' ');
    let told = !spaced
        || found.labelled(near)
        || ((found.is_whole_text() || found.is_quoted())
            && found.text.contains(|c: char| c.is_ascii_alphabetic()));
    // Six or eight octets.
    let octets = matches!(hex.len(), 12 | 16);
    let ends = !matches!(found.next, Some(':'));
    if told && octets && ends && !nobodys { found.whole_number() } else { None }
}
