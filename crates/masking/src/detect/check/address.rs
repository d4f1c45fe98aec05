use sha2::{Digest, Sha256};
use sha3::Keccak256;

/// Base58Check: the last four bytes are the first ones of the double SHA-256 of the rest.
pub(crate) fn base58check(text: &str) -> bool {
    const ALPHABET: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for c in text.chars() {
        let Some(value) = ALPHABET.find(c).and_then(|at| u32::try_from(at).ok()) else { return false };
        let mut carry = value;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            let [low, ..] = carry.to_le_bytes();
            *byte = low;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (payload, check) = bytes.split_at(21);
    Sha256::digest(Sha256::digest(payload)).starts_with(check)
}

/// BIP 173 and BIP 350: Bech32 and Bech32m.
pub(crate) fn bech32(text: &str) -> bool {
    const CHARSET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let text = text.to_ascii_lowercase();
    let Some((prefix, data)) = text.rsplit_once('1') else { return false };
    let step = |sum: u32, value: u32| {
        let top = sum >> 25;
        [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3]
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold((sum & 0x01ff_ffff) << 5 ^ value, |sum, (_, generator)| sum ^ generator)
    };
    let expanded =
        prefix.bytes().map(|b| u32::from(b) >> 5).chain([0]).chain(prefix.bytes().map(|b| u32::from(b) & 31));
    let Some(values) = data
        .chars()
        .map(|c| CHARSET.find(c).and_then(|at| u32::try_from(at).ok()))
        .collect::<Option<Vec<_>>>()
    else {
        return false;
    };
    matches!(expanded.chain(values).fold(1, step), 1 | 0x2bc8_30a3)
}

/// EIP-55: a letter is a capital where the hash of the lower-case address has a digit of eight or more.
pub(crate) fn eip55(hex: &str) -> bool {
    let hash = Keccak256::digest(hex.to_ascii_lowercase().as_bytes());
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    hex.chars().zip(nibbles).all(|(c, nibble)| c.is_ascii_digit() || c.is_ascii_uppercase() == (nibble >= 8))
}
