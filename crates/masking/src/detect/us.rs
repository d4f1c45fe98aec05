use super::{Anchor, Detector, Entity, Match, Tail, boundary::number_start, check::Digits};

pub(super) const TABLE: &[Detector] = &[SSN];

const SSN: Detector = Detector {
    name: "us-ssn",
    entity: Entity::UsSsn,
    anchor: Anchor::Digits(9),
    pattern: r"[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}",
    begins_behind: number_start,
    validate: |found| if issued(&Digits::of(found.text)) { ends(found) } else { None },
    tail: Tail::None,
    context: &[],
    #[cfg(test)]
    examples: &["536-90-4399", "219-09-9999", "536 90 4399"],
    #[cfg(test)]
    counter_examples: &[
        "000-12-3456",
        "666-12-3456",
        "912-12-3456",
        "536-00-4399",
        "536-90-0000",
        "536904399",
        "536-90 4399",
    ],
};

/// Social Security Administration: numbers that are never issued.
fn issued(digits: &Digits) -> bool {
    let (area, group, serial) = (digits.number(0..3), digits.number(3..5), digits.number(5..9));
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

/// Not the beginning of a longer number.
fn ends(found: &Match<'_>) -> Option<usize> {
    found.whole_word().filter(|_| found.next != Some('-'))
}
