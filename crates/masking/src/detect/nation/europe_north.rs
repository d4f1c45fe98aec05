//! Denmark, Norway, Sweden, Finland, Iceland, Estonia, Lithuania.

use crate::detect::{
    Anchor, Match,
    check::{Digits, day, luhn, short_day},
    detector::detectors,
};

detectors! {
    "dk-cpr" => DkCpr {
        anchor: Anchor::Digits(10),
        // The check digit is not kept since 2007.
        pattern: r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}",
        validate: |found, near| {
            let told = found.text.contains('-') || found.labelled(near);
            if told { found.lawful(|digits| day(digits.number(2..4), digits.head(2))) } else { None }
        },
        near: &["cpr", "personnummer"],
        finds: ["211062-5629", "CPR ⟦2110625629⟧"],
        leaves: ["321062-5629", "2110625629"],
    }
    "no-fnr" => NoFodselsnummer {
        anchor: Anchor::Digits(11),
        pattern: r"[0-7][0-9][0-5][0-9]{3} ?[0-9]{5}",
        law: |digits| {
            digits.weighted(&[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
                && digits.weighted(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
                && day(digits.number(2..4) % 40, digits.head(2) % 40)
        },
        near: &["fødselsnummer", "fodselsnummer", "fnr", "personnummer", "d nummer"],
        finds: ["fødselsnummer ⟦151086 95088⟧"],
        leaves: ["fnr 15108695089", "15108695088 x"],
    }
    "se-personnummer" => SePersonnummer {
        anchor: Anchor::Digits(10),
        pattern: r"(?:19|20)?[0-9]{6}[+-]?[0-9]{4}",
        validate: |found, near| {
            let law = |digits: &Digits| {
                let short = Digits::of(&digits.all().iter().skip(digits.len() - 10).map(u32::to_string).collect::<String>());
                let date = short.head(6);
                // Coordination numbers have sixty added to the day.
                (short_day(date) || (date % 100 > 60 && short_day(date - 60))) && luhn(short.all())
            };
            let told = found.text.contains(['-', '+']) || found.named(near);
            if told { found.lawful(law) } else { None }
        },
        near: &["personnummer", "personnr", "swedish personal", "samordningsnummer"],
        finds: ["880320-0016", "personnummer ⟦198803200016⟧"],
        leaves: ["880320-0018", "8803200016 x", "19001309-2393"],
    }
    "se-organisationsnummer" => SeOrganisationsnummer {
        anchor: Anchor::Digits(10),
        pattern: r"[1-35-9][0-9][2-9][0-9]{3}-?[0-9]{4}",
        validate: |found, near| {
            let told = found.text.contains('-') || found.labelled(near);
            if told { found.lawful(|digits| luhn(digits.all())) } else { None }
        },
        near: &["organisationsnummer", "orgnr", "org nr"],
        finds: ["212000-0142", "orgnr ⟦2120000142⟧"],
        leaves: ["212000-0143", "2120000142"],
    }
    "fi-hetu" => FiPersonalIdentityCode {
        anchor: Anchor::Alnum(9),
        pattern: r"[0-3][0-9][01][0-9]{3}[+\-A-FU-Ya-fu-y][0-9]{3}[0-9A-Ya-y]",
        validate: |found, _| {
            let digits = Digits::of(found.text.get(..10)?);
            let number = digits.head(6) * 1000 + digits.number(6..9);
            let check = "0123456789ABCDEFHJKLMNPRSTUVWXY".chars().nth(usize::try_from(number % 31).ok()?);
            let born = day(digits.number(2..4), digits.head(2));
            let last = found.text.chars().last().map(|c| c.to_ascii_uppercase());
            if born && check == last { found.whole_number() } else { None }
        },
        finds: ["131052-308T"],
        leaves: ["131052-308U", "131352-308T", "131052.308T"],
    }
    "is-kennitala" => IsKennitala {
        anchor: Anchor::Digits(10),
        pattern: r"[0-7][0-9][01][0-9]{3}-?[0-9]{3}[089]",
        validate: |found, near| {
            let law = |digits: &Digits| digits.weighted(&[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11);
            if found.labelled(near) { found.lawful(law) } else { None }
        },
        near: &["kennitala", "kt "],
        finds: ["kennitala ⟦450401-3150⟧"],
        leaves: ["kennitala 450401-3140", "450401-3150"],
    }
    "ee-lt-personal-code" => BalticPersonalCode {
        anchor: Anchor::Digits(11),
        pattern: r"[1-6][0-9]{10}",
        law: |digits| {
            let first = digits.weighted(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
            let second = digits.weighted(&[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10;
            short_day(digits.number(1..7)) && (if first < 10 { first } else { second }) == digits.at(10)
        },
        near: &["isikukood", "asmens kodas", "personal code"],
        finds: ["isikukood ⟦36805280109⟧"],
        leaves: ["isikukood 36805280108", "36805280109 x"],
    }
}
