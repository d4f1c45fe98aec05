//! The United States.

use crate::detect::{
    Anchor,
    check::{Digits, luhn},
    detector::detectors,
};

detectors! {
    "us-ssn" => UsSsn {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}|[0-9] [0-9] [0-9] ?- ?[0-9] [0-9] ?- ?[0-9] [0-9] [0-9] [0-9]",
        validate: |found, _| found.lawful(issued),
        finds: ["536-90-4399", "536 90 4399", "5 3 6 - 9 0 - 4 3 9 9", "SSN:⟦123-45-6789⟧;DOB"],
        leaves: [
            "000-12-3456", "666-12-3456", "912-12-3456", "536-00-4399", "536-90-0000", "536904399", "536-90 4399", "219-09-9999",
            "536-90-4399-1", "1-536-90-4399", "222-22-2222",
        ],
    }
    "us-ssn-bare" => UsSsn {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{9}|[0-9]{3}\.[0-9]{2}\.[0-9]{4}",
        validate: |found, near| if found.labelled(near) { found.lawful(issued) } else { None },
        near: &["ssn", "social security", "socialsecurity", "social is", "social number"],
        finds: ["ssn ⟦536904399⟧", "\"social_security_number\": \"⟦536904399⟧\"", "SSN: ⟦536.90.4399⟧"],
        leaves: ["536904399", "ssn 000123456", "ssn 5369043991"],
    }
    "us-itin" => UsItin {
        anchor: Anchor::Digits(9),
        pattern: r"9[0-9]{2}(?:[ -]?[0-9]{2}[ -]?)[0-9]{4}",
        validate: |found, near| {
            let told = found.text.contains([' ', '-']) || found.labelled(near);
            if told { found.lawful(itin) } else { None }
        },
        near: &[
            "itin", "tax id", "taxid", "taxpayer", "tax number", "tax identification", "individual tax", "tin ", "identification number",
            "identificationnumber", "taxpayeridentification",
        ],
        finds: ["911-64-1234", "911 70 1234", "tax_id: ⟦983869492⟧", "\"taxpayer identification number\": \"⟦950772624⟧\""],
        leaves: ["911-49-1234", "order 983869492", "911-93-1234", "811-64-1234"],
    }
    "us-ein" => UsEin {
        anchor: Anchor::Digits(9),
        pattern: r"[0-9]{2}-?[0-9]{7}",
        validate: |found, near| {
            let campus = |digits: &Digits| !matches!(digits.head(2), 0 | 7..=9 | 17..=19 | 28 | 29 | 49 | 69 | 70 | 78 | 79 | 89 | 96 | 97);
            if found.labelled(near) { found.lawful(campus) } else { None }
        },
        near: &["ein ", "employer identification", "employer id", "fein", "federal tax id", "tax id"],
        finds: ["EIN: ⟦12-3456789⟧", "employer identification number ⟦123456789⟧"],
        leaves: ["12-3456789", "EIN 00-3456789"],
    }
    "us-passport" => UsPassport {
        anchor: Anchor::Alnum(8),
        pattern: r"[A-Za-z]?[0-9]{8,9}",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &["us passport", "passport", "travel document", "identity document", "document number", "national identity", "documentnumber",
            "identitydocument", "nationalidentity"],
        finds: ["passport no. ⟦Z12803456⟧", "Passport: ⟦123456789⟧"],
        leaves: ["Z12803456", "passport 1234567"],
    }
    "us-driver-license" => UsDriverLicense {
        anchor: Anchor::Alnum(4),
        pattern: r"[A-Za-z]{0,2}[0-9](?:[ -]?[0-9]){4,14}[A-Za-z]?",
        validate: |found, near| if found.labelled(near) { found.whole_number() } else { None },
        near: &[
            "driver s license", "drivers license", "driver license", "driving license", "driving licence", "driver s licence", "dl ", "dl no",
            "license number", "licence number", "drivers permit", "driver s", "driverslicense", "driverlicense", "drivinglicense", "license no",
        ],
        finds: ["driver's license number is ⟦A125325867⟧", "\"drivers-license\": \"⟦IX6635947⟧\"", "license number is ⟦2270-66-1551⟧"],
        leaves: ["A125325867", "driver 12", "driver's license"],
    }
    "us-npi" => UsNpi {
        anchor: Anchor::Digits(10),
        pattern: r"[12][0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}",
        validate: |found, near| {
            let told = found.text.contains([' ', '-']) || found.named(near);
            if told { found.lawful(npi) } else { None }
        },
        near: &["npi", "national provider", "provider id", "provider number"],
        finds: ["NPI: ⟦1234567893⟧", "1234-567-893"],
        leaves: ["1234567893 steps", "NPI 1234567890", "NPI 0234567893"],
    }
    "us-mbi" => UsMbi {
        anchor: Anchor::Alnum(4),
        // Centers for Medicare & Medicaid Services: no S, L, O, I, B or Z.
        pattern: r"[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9](?:-?)[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9](?:-?)[AC-HJKMNP-RT-Y]{2}[0-9]{2}",
        validate: |found, _| found.whole_number(),
        finds: ["1EG4-TE5-MK73", "1EG4TE5MK73"],
        leaves: ["1SG4-TE5-MK73", "1EG4-TE5-OK73", "AEG4-TE5-MK73", "12G4-TE5-MK73"],
    }
    "us-dea" => MedicalLicense {
        anchor: Anchor::Alnum(7),
        pattern: r"[ABCDEFGHJKLMPRSTUXabcdefghjklmprstux](?:[A-Za-z]|9)[0-9]{7}",
        validate: |found, near| if found.named(near) { found.whole_number().filter(|_| dea(found.text)) } else { None },
        near: &["dea", "medical license", "medical certificate", "drug enforcement", "prescriber"],
        finds: ["DEA: ⟦BB1388568⟧", "K92993548"],
        leaves: ["DEA BG8207031", "DEA B1388568", "item BB1388568"],
    }
}

/// Social Security Administration: numbers that were issued and not printed in advertisements.
fn issued(digits: &Digits) -> bool {
    let (area, group, serial) = (digits.number(0..3), digits.number(3..5), digits.number(5..9));
    let specimen = matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999) | (457, 55, 5462));
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0 && !specimen && !digits.uniform()
}

/// Internal Revenue Service: the groups of taxpayer numbers.
fn itin(digits: &Digits) -> bool {
    matches!(digits.number(3..5), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// National Provider Identifier: Luhn behind the prefix of health cards of the United States.
fn npi(digits: &Digits) -> bool {
    let prefixed: Vec<u32> = [8, 0, 8, 4, 0].iter().chain(digits.all()).copied().collect();
    luhn(&prefixed) && !digits.uniform()
}

/// Drug Enforcement Administration: the sum of the odd places and twice the even ones ends in the last digit.
fn dea(text: &str) -> bool {
    let digits = Digits::of(text.get(2..).unwrap_or_default());
    digits.weighted(&[1, 2, 1, 2, 1, 2]) % 10 == digits.at(6)
}
