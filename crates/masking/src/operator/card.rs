//! Payment cards that stay payment cards.

use aes::Aes256;
use fpe::ff1::{FF1, FlexibleNumeralString};

use super::Keys;

/// Digits FF1 must have to itself: NIST SP 800-38G Rev. 1 (2nd draft, 2025) asks for a domain of a million.
const MIN_DIGITS: usize = 6;

/// Which digits of a card stay. Both at once would leave too few to encrypt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CardPart {
    /// The first six: who issued it.
    Bin,
    /// The last four.
    LastFour,
    /// None.
    #[default]
    None,
}

/// A card number of the same length and separators that passes the Luhn check, by FF1 under the newest key. `None` when
/// this card has too few digits for it.
pub(super) fn encrypt(keys: &Keys, part: CardPart, value: &str) -> Option<String> {
    let mut digits = digits_of(value);
    let (first, last) = match part {
        CardPart::Bin => (6, 0),
        CardPart::LastFour => (0, 4),
        CardPart::None => (0, 0),
    };
    let end = digits.len().checked_sub(last)?;
    // One digit beside what stays makes the Luhn sum right: it follows from the others, so nothing is lost.
    let balance = end.checked_sub(1)?;
    let free = digits.get(first..balance).filter(|free| free.len() >= MIN_DIGITS)?.to_vec();
    let kept: Vec<u8> =
        digits.get(..first)?.iter().chain(digits.get(end..)?).map(|d| d.to_le_bytes()[0]).collect();
    let tweak = [b"CREDIT_CARD\0".as_slice(), &kept].concat();
    let ff1 = FF1::<Aes256>::new(keys.card()?, 10).ok()?;
    let sealed: Vec<u16> = ff1.encrypt(&tweak, &FlexibleNumeralString::from(free)).ok()?.into();
    digits.splice(first..balance, sealed);
    let right = (0..10).find(|digit| {
        if let Some(place) = digits.get_mut(balance) {
            *place = *digit;
        }
        luhn(&digits)
    })?;
    *digits.get_mut(balance)? = right;
    let mut digits = digits.into_iter();
    let write = |c: char| match c.to_digit(10) {
        Some(_) => digits.next().and_then(|d| char::from_digit(d.into(), 10)),
        None => Some(c),
    };
    value.chars().map(write).collect()
}

fn digits_of(text: &str) -> Vec<u16> {
    text.chars().filter_map(|c| c.to_digit(10)).filter_map(|d| u16::try_from(d).ok()).collect()
}

fn luhn(digits: &[u16]) -> bool {
    crate::detect::luhn(&digits.iter().map(|digit| u32::from(*digit)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keys(byte: u8) -> Keys {
        Keys::new([[byte; 32].as_slice()]).unwrap()
    }

    #[test]
    fn a_card_keeps_its_length_separators_chosen_digits_and_luhn() {
        for card in ["4111-1111-1111-1111", "5555 5555 5555 4444", "378282246310005", "6304000000000000000"] {
            for (part, kept) in [(CardPart::Bin, 0..6), (CardPart::LastFour, card.len() - 4..card.len())] {
                let masked = encrypt(&keys(1), part, card).unwrap();
                assert!(luhn(&digits_of(&masked)), "{masked}");
                assert_eq!(masked.len(), card.len());
                assert_eq!(masked.get(kept.clone()), card.get(kept));
                assert_ne!(masked, card);
                assert_eq!(encrypt(&keys(1), part, card).as_ref(), Some(&masked));
                assert_ne!(encrypt(&keys(2), part, card).as_ref(), Some(&masked));
            }
        }
    }

    #[test]
    fn two_cards_never_become_one() {
        let card = |n: u32| {
            let mut digits = format!("411111{n:09}0");
            while !luhn(&digits_of(&digits)) {
                let last: u32 = digits.pop().unwrap().to_digit(10).unwrap();
                digits.push(char::from_digit(last + 1, 10).unwrap());
            }
            digits
        };
        let masked: BTreeSet<_> =
            (0..2000).map(|n| encrypt(&keys(1), CardPart::Bin, &card(n * 977)).unwrap()).collect();
        assert_eq!(masked.len(), 2000);
    }

    #[test]
    fn a_card_with_too_few_digits_is_not_encrypted() {
        assert_eq!(encrypt(&keys(1), CardPart::Bin, "411111111111"), None);
        assert_eq!(encrypt(&keys(1), CardPart::None, "4111"), None);
    }
}
