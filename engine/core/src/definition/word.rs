//! Commands, participants and topics: words that travel in headers and name things outside of Amends.

/// Longest command, participant or topic: leaves room for what couriers put around it (Kafka topics end at 249).
const WORD_MAX: usize = 128;

/// `participant.verb`.
pub(super) fn command(text: &str) -> Result<String, String> {
    let word = word(text)?;
    match word.split_once('.') {
        Some((participant, verb)) if !verb.is_empty() => self::participant(participant).map(|_| word),
        _ => Err(format!("must be \"participant.verb\", for example \"payment.charge\"; {text:?} is not")),
    }
}

/// One segment of the alphabet.
pub(super) fn participant(text: &str) -> Result<String, String> {
    let word = word(text)?;
    if word.is_empty() || word.contains('.') {
        return Err(format!("names a participant by a word without a dot, for example \"payment\"; {text:?} does not"));
    }
    Ok(word)
}

/// Where domain events go; not one of the engine's own topics.
pub(super) fn topic(text: &str) -> Result<String, String> {
    let word = word(text)?;
    if word.bytes().all(|byte| byte == b'.') {
        return Err(format!("must name a topic; {text:?} does not"));
    }
    if word.starts_with("amends.") {
        return Err("must not begin with `amends.`: these topics carry commands and replies".to_owned());
    }
    Ok(word)
}

fn word(text: &str) -> Result<String, String> {
    if text.len() > WORD_MAX {
        return Err(format!("is longer than {WORD_MAX} characters"));
    }
    match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-')) {
        Some(c) => Err(format!("may hold a-z, 0-9, `_`, `.` and `-`, not {c:?}")),
        None => Ok(text.to_owned()),
    }
}
