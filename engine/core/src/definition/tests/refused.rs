//! What is refused, on which line, and in which words.

use super::*;

fn refuses(source: &str, line: usize, part: &str) {
    let found = problems(source);
    let hit = found.iter().any(|problem| problem.line == line && problem.message.contains(part));
    assert!(hit, "wanted line {line}: …{part}… in\n{source}\ngot {found:#?}");
    assert!(found.is_sorted_by_key(|problem| problem.line), "{found:#?}");
}

#[test]
fn the_top_is_checked() {
    let one = step("a", "compensatable", "");
    for (source, line, part) in [
        (String::new(), 1, "`saga` is missing"),
        (String::new(), 1, "`version` is missing"),
        (String::new(), 1, "no step on the way forward"),
        ("saga = \"t\"\nversion = 1\nx = ".into(), 3, "not TOML"),
        ("saga = \"t\"\nsaga = \"u\"\n".into(), 2, "not TOML: duplicate key"),
        (format!("saga = \"T\"\nversion = 1\n{one}"), 1, "`saga` holds the character 'T'"),
        (format!("saga = 5\nversion = 1\n{one}"), 1, "`saga` must be a string, not a whole number"),
        (format!("saga = \"t\"\nversion = 0\n{one}"), 2, "`version` must be between 1 and"),
        (format!("saga = \"t\"\nversion = 99999999999999999999\n{one}"), 2, "`version` must be between 1 and"),
        (format!("saga = \"t\"\nversion = \"1\"\n{one}"), 2, "`version` must be a whole number, not a string"),
        (format!("saga = \"t\"\nversion = -1\n{one}"), 2, "`version` must be between 1 and"),
        (with_head(&format!("colour = 1\n{one}")), 3, "unknown key `colour`"),
        (with_head(&format!("deadline = \"soon\"\n{one}")), 3, "\"soon\" is not a span of time"),
        (with_head(&format!("deadline = \"0s\"\n{one}")), 3, "`deadline` must be between 1ms and"),
        (with_head(&format!("deadline = \"500years\"\n{one}")), 3, "`deadline` must be between"),
        (with_head(&format!("deadline = 15\n{one}")), 3, "`deadline` must be a string"),
        (with_head("[step]\nname = \"a\"\n"), 3, "`step` must be written [[step]], not a table"),
        (with_head("step = [1]"), 3, "`step` must be written [[step]], not a whole number"),
        (with_head("event = \"x\""), 3, "`event` must be written [[event]], not a string"),
    ] {
        refuses(&source, line, part);
    }
}

#[test]
fn each_step_is_checked_alone() {
    let one = |more: &str| with_head(&step("a", "compensatable", more));
    let long = "x".repeat(65);
    for (source, line, part) in [
        (with_head("[[step]]\n"), 3, "`name` is missing"),
        (with_head("[[step]]\n"), 3, "`command` is missing"),
        (with_head("[[step]]\n"), 3, "`kind` is missing"),
        (with_head(&step("A b", "compensatable", "")), 4, "`name` holds the character 'A'"),
        (with_head(&step("", "compensatable", "")), 4, "`name` is empty"),
        (with_head(&step(&long, "compensatable", "")), 4, "`name` is longer than 64 characters"),
        (with_head(&step("input", "compensatable", "")), 4, "no step may be named `input`"),
        (with_head(&step("failure", "compensatable", "")), 4, "no step may be named `failure`"),
        (with_head(&step("saga", "compensatable", "")), 4, "no step may be named `saga`"),
        (steps(&[("a", "compensatable", ""), ("a", "pivot", "")]), 9, "the name `a` is taken by the step on line 4"),
        (with_head(&step("a", "reversible", "")), 5, "`kind` must be \"compensatable\" or \"pivot\" or \"retriable\""),
        (one("on = \"forward\""), 7, "`on` must be \"compensated\""),
        (one("colour = \"red\""), 7, "unknown key `colour`; known here: name, command"),
        (one("participant = \"a.b\""), 7, "`participant` names a participant by a word without a dot"),
        (one("participant = \"\""), 7, "`participant` names"),
        (one("timeout = \"0s\""), 7, "`timeout` must be between 1ms and 1day"),
        (one("timeout = \"25h\""), 7, "`timeout` must be between 1ms and 1day"),
        (one("timeout = \"5\""), 7, "\"5\" is not a span of time"),
        (one("timeout = 5"), 7, "`timeout` must be a string, not a whole number"),
        (one("after = \"a\""), 7, "`after` must be a list of strings, not a string"),
        (one("after = [1]"), 7, "`after` must be a list of strings, not a whole number"),
        (one("retry = 5"), 7, "`retry` must be a table"),
        (one("retry = { tries = 5 }"), 7, "unknown key `tries`"),
        (one("retry = { attempts = 0 }"), 7, "`attempts` must be between 1 and 1000"),
        (one("retry = { attempts = 1001 }"), 7, "`attempts` must be between 1 and 1000"),
        (one("retry = { attempts = 2.5 }"), 7, "`attempts` must be a whole number, not a fraction"),
        (one("retry = { factor = 0.5 }"), 7, "`factor` must be finite and at least 1"),
        (one("retry = { factor = inf }"), 7, "`factor` must be finite"),
        (one("retry = { factor = nan }"), 7, "`factor` must be finite"),
        (one("retry = { factor = 1e999 }"), 7, "`factor` must be finite"),
        (one("retry = { factor = \"2\" }"), 7, "`factor` must be a number"),
        (one("retry = { initial = \"x\" }"), 7, "\"x\" is not a span of time"),
        (one("compensation_retry = { max = \"9000years\" }"), 7, "`max` must be between"),
        (one("on_exhausted = \"park\""), 7, "which only a retriable step may have"),
        (
            with_head("[[step]]\nname = \"a\"\ncommand = \"a.b\"\nkind = \"retriable\"\n"),
            3,
            "a retriable step with no policy for exhaustion",
        ),
        (with_head(&step("a", "retriable", "compensation_retry = {}")), 7, "a retriable step is never undone"),
        (one("input = \"/input\""), 7, "`input` must be a table"),
    ] {
        refuses(&source, line, part);
    }
    for command in ["pay", "pay.", ".pay", "Pay.x", "pay x.y", "päy.x", ""] {
        let source = steps(&[("a", "compensatable", "")]).replace("a.b", command);
        refuses(&source, 6, "`command` ");
    }
}

#[test]
fn the_order_is_checked() {
    let c = "compensatable";
    for (source, line, part) in [
        (steps(&[("a", c, "after = [\"b\"]")]), 7, "step `a` comes after `b`, but there is no such step"),
        (steps(&[("a", c, "after = [\"a\"]")]), 7, "step `a` comes after itself"),
        (steps(&[("a", c, "after = [\"b\"]"), ("b", c, "")]), 3, "step `a` after step `b` after step `a`"),
        (
            steps(&[("a", c, "after = [\"b\"]"), ("b", c, "after = [\"c\"]"), ("c", c, "after = [\"a\"]")]),
            3,
            "step `a` after step `b` after step `c` after step `a`",
        ),
        (steps(&[("a", "pivot", ""), ("b", "pivot", "")]), 10, "step `b` is a second pivot; step `a` on line 5"),
        (
            steps(&[("a", "pivot", ""), ("b", c, "")]),
            10,
            "step `b` is compensatable but comes after the pivot, step `a` on line 5",
        ),
        (
            steps(&[("a", c, ""), ("b", "pivot", "after = []")]),
            5,
            "so the pivot, step `b` on line 10, must come after it",
        ),
        (
            steps(&[("a", "retriable", ""), ("b", "pivot", "after = []")]),
            5,
            "must come after the pivot, step `b` on line 11",
        ),
        (
            steps(&[("a", "retriable", ""), ("b", c, "")]),
            11,
            "comes after step `a`, which is retriable and never undone",
        ),
        (steps(&[("a", c, ""), ("b", "retriable", "after = []")]), 10, "it must come after step `a`, which may be"),
        (steps(&[("a", c, "on = \"compensated\"")]), 5, "so it must be kind = \"retriable\""),
        (steps(&[("a", "retriable", "on = \"compensated\"")]), 3, "no step on the way forward"),
        (
            steps(&[("a", c, ""), ("b", "retriable", "on = \"compensated\"\nafter = [\"a\"]")]),
            13,
            "can only come after other such steps; `a` is on the way forward",
        ),
        (
            steps(&[("a", "retriable", "on = \"compensated\""), ("b", c, "after = [\"a\"]")]),
            13,
            "cannot come after `a`, which runs after a compensation",
        ),
    ] {
        refuses(&source, line, part);
    }
}

#[test]
fn one_mistake_is_reported_once() {
    for source in [
        steps(&[("a", "compensatable", "after = [\"b\"]"), ("b", "pivot", "")]),
        steps(&[("a", "pivot", ""), ("b", "compensatable", "")]),
        steps(&[("a", "compensatable", ""), ("b", "pivot", "after = [\"x\"]\ninput = { a = \"/a/x\" }")]),
        steps(&[("a", "compensatable", ""), ("a", "pivot", "")]),
        format!("{GOOD}\n[[step]]\nname = \"x\"\ncommand = \"a.b\"\nkind = \"pivot\"\n"),
    ] {
        assert_eq!(problems(&source).len(), 1, "{source}\n{:#?}", problems(&source));
    }
}

#[test]
fn mappings_are_checked() {
    let nested = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    for (member, part) in [
        ("\"/nobody/x\"", "neither a step nor input, failure or saga"),
        ("\"/\"", "begins with \"\", which is neither"),
        ("\"/Input/x\"", "begins with \"Input\""),
        ("\"/c/x\"", "needs the output of step `c`, which is not sure to have finished by then"),
        ("\"/b/x\"", "needs the output of step `b`"),
        ("\"/z/x\"", "needs the output of step `z`"),
        ("\"/failure/code\"", "there is no failure to name on the way forward"),
        ("\"/saga/age\"", "\"/saga/age\" names nothing; there are /saga/id, /saga/type, /saga/key"),
        ("\"/saga\"", "names nothing"),
        ("\"/input/a~2\"", "a `~` must be written `~0`"),
        ("\"/input/a~\"", "a `~` must be written `~0`"),
        ("[\"/input/x\"]", "a pointer must be a member's whole value"),
        ("{ x = \"/input/x\" }", "a pointer must be a member's whole value"),
        ("nan", "has no counterpart in JSON"),
        ("-inf", "has no counterpart in JSON"),
        ("9223372036854775808", "does not fit into 64 bits"),
        (nested.as_str(), "nested deeper than 32 levels"),
    ] {
        let source = steps(&[
            ("a", "compensatable", ""),
            ("b", "compensatable", &format!("input = {{ m = {member} }}")),
            ("c", "compensatable", ""),
            ("z", "retriable", "on = \"compensated\""),
        ]);
        refuses(&source, 12, part);
    }
    for member in
        ["\"/input\"", "\"/a\"", "\"/a/x/0/y~1z\"", "\"plain\"", "+1.5e+3", "0xFF", "1979-05-27T07:32:00Z", "[]"]
    {
        let member = format!("input = {{ m = {member} }}");
        let source = steps(&[("a", "compensatable", ""), ("b", "pivot", &member)]);
        Definition::parse(&source).unwrap_or_else(|problems| panic!("{source}\n{problems:?}"));
    }
}

#[test]
fn events_are_checked() {
    let good = "on = \"a.succeeded\"\ntopic = \"t\"\n";
    for (event, line, part) in [
        ("[[event]]\n".to_owned(), 19, "`on` is missing"),
        ("[[event]]\n".to_owned(), 19, "`topic` is missing"),
        (format!("[[event]]\n{good}colour = 1\n"), 22, "unknown key `colour`"),
        (format!("[[event]]\n{good}[[event]]\n{good}"), 22, "published to `t` already, see line 19"),
        (format!("[[event]]\n{good}payload = 1\n"), 22, "`payload` must be a table"),
        (
            format!("[[event]]\n{good}payload = {{ x = \"/z/x\" }}\n"),
            22,
            "the event on `a.succeeded`: \"/z/x\" needs the output",
        ),
    ] {
        refuses(&event_source(&event), line, part);
    }
    for on in ["a", "a.done", "saga.done", "saga", "a.b.succeeded", ""] {
        refuses(
            &event_source(&format!("[[event]]\non = \"{on}\"\ntopic = \"t\"\n")),
            20,
            "`on` must be STEP.succeeded",
        );
    }
    refuses(&event_source("[[event]]\non = \"x.succeeded\"\ntopic = \"t\"\n"), 20, "there is no such step");
    refuses(&event_source("[[event]]\non = \"z.compensated\"\ntopic = \"t\"\n"), 20, "retriable and never undone");
    for topic in ["", ".", "..", "A", "a/b", "amends.replies", &"t".repeat(129)] {
        refuses(&event_source(&format!("[[event]]\non = \"a.refused\"\ntopic = \"{topic}\"\n")), 21, "`topic` ");
    }
    for on in
        ["a.refused", "a.compensated", "b.succeeded", "saga.started", "saga.completed", "saga.parked", "z.succeeded"]
    {
        let members = "{ x = \"/failure/step\", y = \"/b/z\", id = \"/saga/key\" }";
        let source = event_source(&format!("[[event]]\non = \"{on}\"\ntopic = \"t.t\"\npayload = {members}\n"));
        Definition::parse(&source).unwrap_or_else(|problems| panic!("{source}\n{problems:?}"));
    }
    let own = "[[event]]\non = \"z.succeeded\"\ntopic = \"t\"\npayload = { x = \"/z/x\" }\n";
    assert!(Definition::parse(&event_source(own)).is_ok());
}

/// Three steps on lines 3 to 18, then `event` from line 19.
fn event_source(event: &str) -> String {
    let late = "on = \"compensated\"";
    steps(&[("a", "compensatable", ""), ("b", "pivot", ""), ("z", "retriable", late)]) + event
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_lines() {
    let source = "version = 0\nsaga = \"T\"\n[[step]]\nname = \"a\"\nkind = \"pivot\"\n[[step]]\nkind = \"x\"\ncommand = \"y\"\n";
    let lines: Vec<_> = problems(source).iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 2, 3, 6, 7, 8]);
}
