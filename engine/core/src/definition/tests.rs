mod refused;

use proptest::prelude::*;

use super::*;

/// One step of each kind, events of every sort; the mutations below start from it.
const GOOD: &str = r#"# a comment
saga = "trip"
version = 3
deadline = "15m"

[[step]]
name = "book"
command = "hotel.book"
kind = "compensatable"
input = { guest = "/input/guest", nights = 2, flags = { late = true, rate = 1.50 }, since = "/saga/id" }
retry = { attempts = 7 }
compensation_retry = { max = "30s" }

[[step]]
name = "pay"
command = "bank.card.pay"
participant = "treasury"
kind = "pivot"
timeout = "2s"
input = { amount = "/book/price" }

[[step]]
name = "tell"
command = "mail.send"
kind = "retriable"
on_exhausted = "skip"

[[step]]
name = "sorry"
command = "mail.send"
kind = "retriable"
on = "compensated"
on_exhausted = "park"
input = { code = "/failure/code", price = "/book/price" }

[[event]]
on = "pay.succeeded"
topic = "paid"

[[event]]
on = "saga.compensated"
topic = "gone"
payload = { why = "/failure/message", said = "/sorry/id" }
"#;

fn problems(source: &str) -> Vec<DefinitionError> {
    Definition::parse(source).expect_err(source)
}

/// Lines 1 and 2 are the head; what follows begins at line 3.
fn with_head(body: &str) -> String {
    format!("saga = \"t\"\nversion = 1\n{body}")
}

/// A step on five lines (six if retriable), the first of them `[[step]]`.
fn step(name: &str, kind: &str, more: &str) -> String {
    let more = if kind == "retriable" { format!("{more}\non_exhausted = \"park\"") } else { more.to_owned() };
    format!("[[step]]\nname = \"{name}\"\nkind = \"{kind}\"\ncommand = \"a.b\"\n{more}\n")
}

fn steps(list: &[(&str, &str, &str)]) -> String {
    with_head(&list.iter().map(|(name, kind, more)| step(name, kind, more)).collect::<String>())
}

#[test]
fn a_good_definition_is_read_in_full() {
    let definition = Definition::parse(GOOD).unwrap();
    assert_eq!((definition.saga_type.as_str(), definition.version), ("trip", 3));
    assert_eq!(definition.deadline, Some(Millis(900_000)));
    assert_eq!(&*definition.source, GOOD);
    let [book, pay, tell, sorry] = definition.steps.as_slice() else { panic!("four steps") };
    assert_eq!((book.participant.as_str(), book.after.as_slice(), book.timeout), ("hotel", &[][..], Millis(5_000)));
    assert_eq!(book.retry, RetryPolicy { attempts: 7, initial: Millis(100), factor: 2.0, max: Millis(10_000) });
    assert_eq!(book.compensation_retry, RetryPolicy { max: Millis(30_000), ..book.retry });
    assert_eq!(
        (pay.participant.as_str(), pay.after.as_slice(), pay.timeout),
        ("treasury", &[StepIndex(0)][..], Millis(2_000))
    );
    assert_eq!(pay.compensation_retry, pay.retry);
    assert_eq!((tell.exhausted, tell.after.as_slice()), (Exhaustion::Skip, &[StepIndex(1)][..]));
    assert_eq!((sorry.on, sorry.after.as_slice()), (On::Compensated, &[][..]));
    let members: Vec<_> = book
        .input
        .as_ref()
        .unwrap()
        .0
        .iter()
        .map(|(name, source)| match source {
            Source::Literal(value) => format!("{name}={}", value.get()),
            Source::Pointer(pointer) => format!("{name}@{:?}{}", pointer.root, pointer.path),
        })
        .collect();
    assert_eq!(members, [r#"flags={"late":true,"rate":1.50}"#, "guest@Input/guest", "nights=2", "since@Saga/id"]);
    assert_eq!(definition.events[0].on, Trigger::StepSucceeded(StepIndex(1)));
    assert!(definition.events[0].payload.is_none());
}

#[test]
fn the_checksum_is_of_the_meaning() {
    let checksum = |source: &str| Definition::parse(source).unwrap().checksum;
    let good = checksum(GOOD);
    let same = [
        GOOD.replace("# a comment", "# another\n\n"),
        GOOD.replace("\"15m\"", "'900s'"),
        GOOD.replace("timeout = \"2s\"", "timeout = \"2000ms\"\nafter = [ \"book\", ]"),
        GOOD.replace("retry = { attempts = 7 }", "retry = { factor = 2, attempts = 7, max = \"10s\" }"),
        GOOD.replace("guest = \"/input/guest\", nights = 2", "nights = 2, guest = \"/input/guest\""),
    ];
    for source in same {
        assert_eq!(checksum(&source), good, "{source}");
    }
    let different = [
        ("trip", "tour"),
        ("version = 3", "version = 4"),
        ("15m", "16m"),
        ("deadline = \"15m\"", ""),
        ("hotel.book", "hotel.take"),
        ("treasury", "bank"),
        ("timeout = \"2s\"", ""),
        ("attempts = 7", "attempts = 8"),
        ("max = \"30s\"", "max = \"31s\""),
        ("\"skip\"", "\"park\""),
        ("/input/guest", "/input/name"),
        ("nights = 2", "nights = 3"),
        ("nights = 2", "nights = \"2\""),
        ("input = { amount = \"/book/price\" }", ""),
        ("\"paid\"", "\"payed\""),
        ("pay.succeeded", "pay.refused"),
        ("why = ", "reason = "),
    ];
    for (from, to) in different {
        assert_ne!(checksum(&GOOD.replace(from, to)), good, "{from} -> {to}");
    }
}

#[test]
fn the_checksum_never_changes_for_a_deployed_definition() {
    assert_eq!(Definition::parse(GOOD).unwrap().checksum.to_string(), "c2005155-ec7a-55c6-8e22-de897d2228ed");
}

#[test]
fn as_many_steps_as_a_mask_has_bits() {
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("s{n}")).collect();
        let input = "input = { first = \"/s0/x\" }";
        let list = names.iter().enumerate();
        let list: Vec<_> =
            list.map(|(n, name)| (name.as_str(), "compensatable", if n > 0 { input } else { "" })).collect();
        steps(&list)
    };
    assert_eq!(Definition::parse(&many(64)).unwrap().steps.len(), 64);
    let found = problems(&many(70));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].line, &*found[0].message), (3 + 64 * 5, "a definition has at most 64 steps, this one 70"));
}

#[test]
fn literals_keep_their_digits() {
    let member = "input = { m = [+1.50, 0x1F, 1_000, \"a\\\"b\", { z = 1, a = false }, 1e3] }";
    let definition = Definition::parse(&steps(&[("a", "pivot", member)])).unwrap();
    let Source::Literal(value) = &definition.steps[0].input.as_ref().unwrap().0[0].1 else { panic!("a literal") };
    assert_eq!(value.get(), r#"[1.50,31,1000,"a\"b",{"a":false,"z":1},1e3]"#);
}

#[test]
fn a_diamond_is_fine() {
    let join = "after = [\"b\", \"c\", \"b\"]\ninput = { x = \"/a/x\", y = \"/c/y\" }";
    let source = steps(&[
        ("a", "compensatable", ""),
        ("b", "compensatable", ""),
        ("c", "compensatable", "after = [\"a\"]"),
        ("d", "pivot", join),
        ("e", "retriable", ""),
        ("f", "retriable", "after = [\"d\"]"),
    ]);
    let definition = Definition::parse(&source).unwrap();
    assert_eq!(definition.steps[3].after, [StepIndex(1), StepIndex(2)]);
}

#[test]
fn the_example_in_the_docs_is_good() {
    let page = include_str!("../../../../docs/definitions.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let definition = Definition::parse(example).unwrap();
    assert_eq!((definition.steps.len(), definition.events.len()), (5, 1));
}

#[test]
fn depth_is_refused_before_it_hurts() {
    let dotted = vec!["a"; 79].join(".");
    let deep = format!("{}1{}", format!("{{ {dotted} = ").repeat(78), " }".repeat(78));
    let source = steps(&[("a", "pivot", &format!("input = {{ m = {deep} }}"))]);
    assert_eq!(problems(&source).len(), 1);
    assert!(Definition::parse(&format!("{}x = 1", "a.".repeat(100_000))).is_err());
    assert!(Definition::parse(&format!("a = {}", "[".repeat(100_000))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC*|[\\[\\]{}=\"a-e.\n0-9]*") {
        let _ = Definition::parse(&text);
    }

    #[test]
    fn a_mutated_definition_is_answered(cuts in prop::collection::vec((0usize..2_000, 0usize..40, "[a-z/\\[\\]\"={}\n.0-9]{0,12}"), 1..6)) {
        let mut text = GOOD.to_owned();
        for (at, length, insert) in cuts {
            let at = at % (text.len() + 1);
            let end = (at + length).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &insert);
            }
        }
        if let Err(problems) = Definition::parse(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| (1..=text.lines().count() + 1).contains(&problem.line)));
            prop_assert!(problems.is_sorted_by_key(|problem| problem.line));
        }
    }

    #[test]
    fn swapped_lines_are_answered(swaps in prop::collection::vec((0usize..50, 0usize..50), 1..8)) {
        let mut lines: Vec<_> = GOOD.lines().collect();
        for (one, other) in swaps {
            let count = lines.len();
            lines.swap(one % count, other % count);
        }
        if let Err(problems) = Definition::parse(&lines.join("\n")) {
            prop_assert!(!problems.is_empty());
        }
    }
}
