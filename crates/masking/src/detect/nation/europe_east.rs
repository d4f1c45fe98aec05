//! Poland, Czechia, Slovakia, Romania, Bulgaria, Croatia, Ukraine.

use crate::detect::{
    Anchor, Match,
    check::{Digits, day, mod11_10, short_day},
    detector::detectors,
};

detectors! {
    "pl-pesel" => PlPesel {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9](?:[ .-]?[0-9]){10}",
        validate: |found, near| {
            // Centuries are told by the month.
            let born = |digits: &Digits| day(digits.number(2..4) % 20, digits.number(4..6));
            let law = |digits: &Digits| (10 - digits.weighted(&[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10) % 10 == digits.at(10);
            let named = found.labelled(near);
            if named || found.is_whole_text() { found.lawful(|digits| named || (law(digits) && born(digits))) } else { None }
        },
        near: &["pesel"],
        finds: ["PESEL ⟦44051401359⟧", "PESEL: ⟦4.4.0.5.1.4.0.1.3.5.8⟧", "44051401359"],
        leaves: ["44051401359 x", "PESEL 4405140135"],
    }
    "pl-nip" => PlNip {
        anchor: Anchor::Digits(10),
        pattern: r"(?:PL ?)?[0-9](?:[ .-]?[0-9]){9}",
        validate: |found, near| {
            let law = |digits: &Digits| digits.weighted(&[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == digits.at(9);
            let named = found.labelled(near);
            let written = found.text.matches('-').count() == 3;
            if named || written { found.lawful(|digits| named || law(digits)) } else { None }
        },
        near: &["nip", "identyfikacji podatkowej"],
        finds: ["NIP ⟦8567346215⟧", "856-734-62-15", "NIP: ⟦8 5 6 7 3 4 6 2 1 5⟧"],
        leaves: ["8567346215 x", "856-734-62-16", "NIP 856734621"],
    }
    "pl-regon" => PlRegon {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9](?:[ .-]?[0-9]){8}(?:[0-9]{5})?",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["regon"],
        finds: ["REGON: ⟦192598184⟧", "REGON ⟦447-287-892⟧"],
        leaves: ["192598184", "REGON 19259818"],
    }
    "pl-id-card" => PlIdCard {
        anchor: Anchor::Alnum(3),
        pattern: r"[A-Z]{3}[ .-]?[0-9lO](?:[ .-]?[0-9lO]){5}",
        validate: |found, near| {
            let weigh = |weights: &[u32]| -> u32 {
                let values = found.text.chars().filter_map(|c| c.to_digit(36));
                values.zip(weights).map(|(value, weight)| value * weight).sum()
            };
            let lawful = weigh(&[7, 3, 1, 0, 7, 3, 1, 7, 3]) % 10 == Digits::of(found.text).at(0);
            let told = found.labelled(near) || (lawful && found.is_whole_text());
            if told { found.whole_number() } else { None }
        },
        near: &["dowod", "dowód", "dowodem", "dowodu", "seria", "legitymuj"],
        finds: ["dowodem osobistym nr ⟦ABS123456⟧", "dowód ⟦ABS 1 2 3 4 5 6⟧"],
        leaves: ["część ABS123456", "dowód ABS12345"],
    }
    "cz-sk-birth-number" => CzBirthNumber {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{2}[0-8][0-9]{3}/?[0-9]{3,4}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                let month = digits.number(2..4) % 50;
                let born = day(if month > 20 { month - 20 } else { month }, digits.number(4..6));
                born && (digits.len() == 9 || digits.head(10).is_multiple_of(11) || (digits.head(9) % 11 == 10 && digits.at(9) == 0))
            };
            let told = found.text.contains('/') || found.labelled(near);
            if told { found.lawful(law) } else { None }
        },
        near: &["rodne cislo", "rodné číslo", "rodne číslo", "birth number", "r č"],
        finds: ["710319/2745", "rodné číslo ⟦7103192745⟧"],
        leaves: ["710319/2746", "7103192745 x", "713319/2745"],
    }
    "ro-cnp" => RoCnp {
        anchor: Anchor::Digits(13),
        pattern: r"[1-9][0-9]{12}",
        law: |digits| {
            let check = digits.weighted(&[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
            short_day(digits.number(1..7)) && (if check == 10 { 1 } else { check }) == digits.at(12)
        },
        near: &["cnp", "cod numeric"],
        finds: ["CNP ⟦1630615123457⟧"],
        leaves: ["CNP 1630615123458", "1630615123457 x"],
    }
    "bg-egn" => BgEgn {
        anchor: Anchor::Digits(10),
        pattern: r"[0-9]{2}[0-5][0-9]{7}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                day(digits.number(2..4) % 20, digits.number(4..6))
                    && digits.weighted(&[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == digits.at(9)
            };
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["egn", "егн"],
        finds: ["EGN ⟦7523169263⟧"],
        leaves: ["EGN 7523169264", "7523169263"],
    }
    "hr-oib" => HrOib {
        anchor: Anchor::Digits(11),
        pattern: r"[0-9]{11}",
        named: |digits| mod11_10(digits.all()) && !digits.uniform(),
        near: &["oib"],
        finds: ["OIB ⟦33392005961⟧"],
        leaves: ["OIB 33392005962", "33392005961 x"],
    }
    "ua-rntrc" => UaTaxNumber {
        anchor: Anchor::Digits(10),
        pattern: r"[0-9]{10}",
        validate: |found, near| {
            // May be below zero before the last digits: 9 less the first one is the same mod 11 as ten times it.
            let law = |digits: &Digits| digits.weighted(&[10, 5, 7, 9, 4, 6, 10, 5, 7]) % 11 % 10 == digits.at(9);
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["рнокпп", "іпн", "rntrc", "taxpayer"],
        finds: ["РНОКПП ⟦1759013776⟧"],
        leaves: ["РНОКПП 1759013777", "1759013776"],
    }
}
