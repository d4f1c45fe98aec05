//! Telephone numbers.
//!
//! Between precision and recall stands how a number is written: international ones are checked against the numbering
//! plans (ITU-T E.164), national ones need a shape only telephone numbers have, or a word that says so.

use std::sync::LazyLock;

use super::{Anchor, Match, boundary::outside_words, check::Digits, detector::detectors};

/// Extensions: `x123`, `ext. 12`.
macro_rules! extended {
    ($number:literal) => {
        concat!("(?:", $number, ")(?i: ?(?:x|ext\\.?|extension|durchwahl|poste) ?[0-9]{1,6})?")
    };
}

/// Words that say that a telephone number follows.
const NEAR: &[&str] = &[
    "phone",
    "telephone",
    "tel ",
    "mobile",
    "cell",
    "cellphone",
    "fax",
    "whatsapp",
    "sms ",
    "text me",
    "call ",
    "calls ",
    "calling",
    "callback",
    "called",
    "dial",
    "hotline",
    "helpline",
    "ring me",
    "reach me",
    "reach us",
    "reached at",
    "reached on",
    "answering at",
    "messages to",
    "registered",
    "front desk",
    "contact at",
    "contact number",
    "telefon",
    "telefono",
    "teléfono",
    "telefone",
    "téléphone",
    "handy",
    "movil",
    "móvil",
    "celular",
    "cellulare",
    "portable",
    "komórka",
    "kontakt",
    "telefonu",
    "numer tel",
    "associatephone",
    "contactphone",
    "homephone",
    "workphone",
    "mobil",
    "gsm",
    "telephonenumber",
];

detectors! {
    "phone-international" => Phone {
        anchor: Anchor::Digits(6),
        pattern: extended!(r"\+[0-9](?:[ .\-/()]{0,3}[0-9]){5,16}"),
        begins: |before| before.is_none_or(outside_words),
        validate: |found, _| international(found, 1),
        finds: [
            "+49 30 901820", "+1 (212) 555-0199", "+442079460958", "+41 (0)83 259 97 39", "+1-418-057-8891x486", "+376 312 345",
            "+81-(0)90-1234-5678", "call ⟦+44 7700 900123⟧ 24 hours", "tel:⟦+15551234567⟧",
        ],
        leaves: ["+5", "+999 123 4567", "+1 2345", "3+4 567 890", "+49301234567890123"],
    }
    "phone-dialled-abroad" => Phone {
        anchor: Anchor::Digits(9),
        pattern: extended!(r"00[1-9](?:[ .\-/()]{0,2}[0-9]){7,14}"),
        validate: |found, near| {
            let told = found.text.contains([' ', '(']) || found.labelled(near) || found.is_whole_text();
            if told { international(found, 2) } else { None }
        },
        near: NEAR,
        finds: ["0049 30 901820", "0044 20 7946 0958", "phone: ⟦004930901820⟧"],
        leaves: ["004930901820 pieces", "00123", "00000000000"],
    }
    "phone-north-america" => Phone {
        anchor: Anchor::Digits(10),
        pattern: extended!(
            r"(?:1[ .-]?)?(?:\([0-9]{3}\)[ -]{0,2}[0-9]{3}[ .-]?[0-9]{4}|[0-9]{3}-[0-9]{3}-[0-9]{4}|[0-9]{3}\.[0-9]{3}\.[0-9]{4}|[2-9][0-9]{2} [2-9][0-9]{2}-[0-9]{4})"
        ),
        begins: starts,
        validate: |found, _| found.whole_number(),
        finds: [
            "(212) 555-0199", "212-555-0199", "1-800-555-0199", "415.555.0132", "(646) 555-9988", "570-273-9532x0745",
            "(154)290-8641x5607", "1(567)362 8910", "(242)-123-1234", "242 523-1234", "212-555-0199 ext. 12",
        ],
        leaves: ["212-555-01990", "555-0199", "10.20.30.40", "123-45-6789", "212-555-0199-1", "2026-11-22", "1.212.5550199"],
    }
    "phone-area-code" => Phone {
        anchor: Anchor::Digits(8),
        // (0)30 901820, (22) 99956-7894, (08) 8747 6301, +… is another's
        pattern: extended!(r"(?:[1-9][0-9]{0,2} )?\([0-9]{2,3}\) ?[0-9]{3,5}[ -][0-9]{3,4}"),
        begins: starts,
        validate: |found, _| found.whole_number(),
        finds: ["(22) 99956-7894", "(08) 8747 6301", "(99) 645-791", "55 (17) 96332-2155"],
        leaves: ["(12) 345", "f(12) 345-678", "(2020) 1234-1245", "(12) 34567 and"],
    }
    "phone-trunk" => Phone {
        anchor: Anchor::Digits(8),
        // 020 7946 0958, 0171/1234567, 01.84.17.61.18
        pattern: extended!(r"0[1-9][0-9]{0,4}[ /.-][0-9]{2,8}(?:[ .-][0-9]{2,4}){0,4}"),
        begins: starts,
        validate: |found, _| {
            let digits = Digits::of(found.text).len();
            let written = !is_date(found.text) && uniform(found.text);
            if written && (9..=12).contains(&digits) { found.whole_number() } else { None }
        },
        finds: ["020 7946 0958", "0171/1234567", "01.84.17.61.18", "0490 75 40 81", "0393 1144137", "016-2838768"],
        leaves: ["01.06.2024", "01-02-2024", "0.12-345", "2,024 555", "02.2024", "00-1A-2B-3C", "03/15/1989 12", "08 2024"],
    }
    "phone-labelled" => Phone {
        anchor: Anchor::Digits(7),
        pattern: extended!(r"\(?[0-9](?:[ .\-/()]{0,2}[0-9]){5,14}"),
        begins: starts,
        validate: labelled,
        near: NEAR,
        finds: [
            "Phone: ⟦467 3395⟧", "\"phone\": \"⟦05503262456⟧\"", "call me at ⟦60-56-85-91⟧", "mobile ⟦78 651 450⟧", "Fax\n⟦5551234567⟧",
            "35078110", "9123-4567", "{\"workPhone\":⟦5551234567⟧",
        ],
        leaves: [
            "order 467 3395", "phone_id: 4673395", "\"created\": 1795374808", "call 2026-11-22", "phone 12345", "1795374808",
            "call 12 of 34 567", "20261122", "Phone: 1, then 5551234567",
        ],
    }
}

fn starts(before: Option<char>) -> bool {
    before.is_none_or(|c| outside_words(c) && !matches!(c, '.' | '-' | '+' | '/' | '$' | '€' | '£'))
}

/// Calling codes of one to three digits, each with the fewest and most digits of its national numbers.
const PLANS: &str = "\
    1:10-10 7:10-10 20:7-10 211:9-9 212:9-9 213:8-9 216:8-8 218:8-9 220:7-7 221:9-9 222:8-8 223:8-8 224:8-9 225:8-10 226:8-8 \
    227:8-8 228:8-8 229:8-10 230:7-8 231:7-9 232:8-8 233:5-9 234:7-10 235:8-8 236:8-8 237:8-9 238:7-7 239:7-7 240:9-9 \
    241:7-8 242:9-9 243:7-9 244:9-9 245:7-9 246:7-7 247:4-6 248:6-7 249:9-9 250:8-9 251:9-9 252:6-9 253:8-8 254:7-10 255:9-9 \
    256:9-9 257:8-8 258:8-9 260:9-9 261:7-10 262:9-9 263:5-10 264:8-9 265:7-9 266:8-8 267:7-8 268:7-8 269:7-7 27:5-9 \
    290:4-5 291:7-7 297:7-7 298:6-6 299:6-6 30:10-10 31:6-11 32:8-9 33:9-9 34:9-9 350:8-8 351:9-9 352:4-11 353:7-10 \
    354:7-9 355:6-9 356:8-8 357:8-8 358:5-12 359:6-9 36:8-9 370:8-8 371:8-8 372:7-8 373:8-8 374:8-8 375:9-10 376:6-9 \
    377:8-9 378:6-10 379:6-10 380:9-9 381:6-10 382:8-9 383:8-9 385:8-9 386:8-8 387:8-9 389:8-8 39:6-11 40:9-9 41:9-9 420:9-9 \
    421:9-9 423:7-9 43:4-13 44:7-10 45:8-8 46:6-10 47:5-8 48:9-9 49:6-11 500:5-5 501:7-7 502:8-8 503:7-8 504:8-8 505:8-8 \
    506:8-8 507:7-8 508:6-9 509:8-8 51:8-9 52:10-11 53:6-8 54:10-11 55:10-11 56:9-9 57:8-10 58:10-10 590:9-9 591:8-8 592:7-7 \
    593:8-9 594:9-9 595:6-9 596:9-9 597:6-7 598:7-8 599:7-8 60:8-10 61:9-9 62:7-12 63:8-10 64:8-10 65:8-8 66:8-9 670:7-8 672:6-6 \
    673:7-7 674:7-7 675:7-8 676:5-7 677:5-7 678:5-7 679:7-7 680:7-7 681:6-6 682:5-5 683:4-7 685:5-7 686:5-8 687:6-6 688:5-7 \
    689:6-8 690:4-7 691:7-7 692:7-7 800:8-8 808:8-8 81:9-10 82:8-11 84:7-10 850:6-10 852:8-8 853:8-8 855:8-9 856:8-10 86:7-11 870:9-9 \
    878:10-12 880:6-10 881:8-10 882:7-12 883:7-12 886:8-9 90:10-10 91:8-12 92:8-10 93:9-9 94:9-9 95:6-10 960:7-10 961:7-8 962:8-9 \
    963:8-9 964:8-10 965:8-8 966:8-9 967:7-9 968:8-8 970:8-9 971:8-9 972:8-9 973:8-8 974:8-8 975:7-8 976:8-8 977:8-10 979:9-9 \
    98:10-10 992:9-9 993:8-8 994:9-9 995:9-9 996:9-9 998:9-9 ";

/// By calling code: the fewest and most digits of its national numbers. No code begins with 0, and none with another.
static RANGES: LazyLock<Vec<Option<(usize, usize)>>> = LazyLock::new(|| {
    let mut ranges = vec![None; 1000];
    for plan in PLANS.split_whitespace() {
        let read = || {
            let (code, range) = plan.split_once(':')?;
            let (least, most) = range.split_once('-')?;
            Some((code.parse::<usize>().ok()?, (least.parse().ok()?, most.parse().ok()?)))
        };
        if let Some((code, range)) = read()
            && let Some(slot) = ranges.get_mut(code)
        {
            *slot = Some(range);
        }
    }
    ranges
});

/// Whether these digits are a calling code and a number of its plan; a trunk `0` may stand between.
fn planned(digits: &Digits) -> bool {
    digits.at(0) != 0
        && (1..=3).filter(|len| *len < digits.len()).any(|len| {
            let code = usize::try_from(digits.head(len)).ok();
            let Some(Some((least, most))) = code.and_then(|code| RANGES.get(code)) else { return false };
            let trunk = usize::from(digits.at(len) == 0);
            (*least..=most + trunk).contains(&(digits.len() - len))
        })
}

/// As many groups as make a number of a plan, behind `skip` characters that say it is international.
fn international(found: &Match<'_>, skip: usize) -> Option<usize> {
    let number = found.text.find(|c: char| c.is_alphabetic()).unwrap_or(found.text.len());
    let extended = number < found.text.len();
    if extended && planned(&Digits::of(found.text.get(skip..number)?)) {
        return found.whole_word();
    }
    found.longest(|text| text.get(skip..).is_some_and(|text| planned(&Digits::of(text))))
}

/// A number named as one, or all there is.
fn labelled(found: &Match<'_>, near: &[&str]) -> Option<usize> {
    let whole = found.whole_number()?;
    let digits = Digits::of(found.text);
    if !(6..=15).contains(&digits.len()) || digits.uniform() || is_date(found.text) {
        return None;
    }
    let told = found.labelled(near)
        && !found.labelled(&["id ", "code ", "count", "size", "equipment", "price", "cost"]);
    let bare = found.text.chars().all(|c| c.is_ascii_digit());
    // Seconds and milliseconds since 1970, and dates without separators.
    let clock = bare && matches!((digits.len(), digits.head(2)), (10 | 13, 15..=19) | (8, 19 | 20));
    let long = if told || found.text.contains(' ') { 6 } else { 7 };
    let counted = digits.len() > 8 && found.text.starts_with("123456789");
    let alone = found.is_whole_text()
        && found.before.is_empty()
        && !clock
        && !counted
        && found.text.matches('.').count() < 3;
    (digits.len() >= long && (told || alone)).then_some(whole)
}

/// `22.11.2026`, `2026-11-22`.
fn is_date(text: &str) -> bool {
    let groups: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let year =
        |group: Option<&&str>| group.is_some_and(|group| group.starts_with("19") || group.starts_with("20"));
    match lengths.as_slice() {
        [1 | 2, 1 | 2, 4, ..] => year(groups.get(2)),
        [4, 1 | 2, 1 | 2, ..] => year(groups.first()),
        [1 | 2, 4] => true,
        _ => false,
    }
}

/// Whether one kind of separator stands between the groups, but for the first.
fn uniform(text: &str) -> bool {
    let mut separators = text.chars().filter(|c| !c.is_ascii_alphanumeric()).skip(1);
    separators.next().is_none_or(|first| separators.all(|c| c == first))
}
