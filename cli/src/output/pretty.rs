//! Payloads laid out for people. Numbers keep their digits: the text is laid out anew, never read into floating point.

use serde_json::value::RawValue;

/// Payload text, indented where it is JSON, else as it is.
pub(crate) fn json(payload: &str) -> String {
    match serde_json::from_str::<&RawValue>(payload) {
        Ok(value) => indent(value.get()),
        Err(_) => super::format::clean(payload),
    }
}

/// Lays out valid JSON text.
fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut chars = json.chars().peekable();
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        if in_string {
            out.push(if c.is_control() { ' ' } else { c });
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            _ if c.is_whitespace() => {}
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_keep_their_digits() {
        let text = json(r#"{"price":1299.9900000000000000001,"items":[],"note":"a\"b: {c}","list":[1,{"x":null}]}"#);
        let expected = "{\n  \"price\": 1299.9900000000000000001,\n  \"items\": [],\n  \"note\": \"a\\\"b: {c}\",\n  \
                        \"list\": [\n    1,\n    {\n      \"x\": null\n    }\n  ]\n}";
        assert_eq!(text, expected);
        assert_eq!(json("not json"), "not json");
    }
}
