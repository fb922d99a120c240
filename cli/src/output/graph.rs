//! The order between steps: as a tree of text, or as a Mermaid flowchart for Markdown.

use amends_proto::amends::v1::{Saga, SagaDefinition};

use super::{format, status, types};

/// Colours of the states in a flowchart, as CSS of a Mermaid class.
const CLASSES: [(&str, &str); 6] = [
    ("good", "fill:#d7f5dd,stroke:#2e8b57,color:#123"),
    ("busy", "fill:#d9ecff,stroke:#2b6cb0,color:#123"),
    ("warn", "fill:#fff3cd,stroke:#b7791f,color:#123"),
    ("bad", "fill:#fde0e0,stroke:#c53030,color:#123"),
    ("undone", "fill:#eadcf9,stroke:#6b46c1,color:#123"),
    ("faint", "fill:#f4f4f4,stroke:#999,color:#555"),
];

/// A step as a graph sees it.
struct Node<'a> {
    name: &'a str,
    command: &'a str,
    after: &'a [String],
    is_after_compensation: bool,
    symbol: &'static str,
    class: &'static str,
    note: &'a str,
}

/// Draws a saga as a flowchart, its steps coloured by state.
pub(crate) fn saga_mermaid(saga: &Saga) -> String {
    let node = |step| {
        let step: &amends_proto::amends::v1::Step = step;
        Node {
            name: &step.name,
            command: &step.command,
            after: &step.after,
            is_after_compensation: step.on == "compensated",
            symbol: status::of_step(&step.state).0,
            class: class(&step.state),
            note: &step.state,
        }
    };
    mermaid(&saga.steps.iter().map(node).collect::<Vec<_>>())
}

/// Draws a definition as a flowchart.
pub(crate) fn definition_mermaid(definition: &SagaDefinition) -> String {
    mermaid(&nodes(definition))
}

/// Draws a definition as a tree of text: a step hangs under the last of those that it comes after.
pub(crate) fn definition_tree(definition: &SagaDefinition) -> String {
    let nodes = nodes(definition);
    let (after, forward): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.is_after_compensation);
    let mut text = types::title(definition) + "\n";
    branch(&forward, None, "", &mut text);
    if !after.is_empty() {
        text += "after a compensation\n";
        branch(&after, None, "", &mut text);
    }
    text
}

fn nodes(definition: &SagaDefinition) -> Vec<Node<'_>> {
    let node = |step| {
        let step: &amends_proto::amends::v1::StepDefinition = step;
        Node {
            name: &step.name,
            command: &step.command,
            after: &step.after,
            is_after_compensation: step.on == "compensated",
            symbol: "",
            class: "",
            note: &step.kind,
        }
    };
    definition.steps.iter().map(node).collect()
}

fn branch(nodes: &[&Node<'_>], parent: Option<&str>, indent: &str, text: &mut String) {
    let is_here = |name: &&String| nodes.iter().any(|node| node.name == **name);
    let hangs_here = |node: &&&Node<'_>| node.after.iter().rev().find(is_here).map(String::as_str) == parent;
    let children: Vec<_> = nodes.iter().filter(hangs_here).collect();
    for (at, node) in children.iter().enumerate() {
        let is_last = at + 1 == children.len();
        let others: Vec<_> = node.after.iter().map(String::as_str).filter(|name| Some(*name) != parent).collect();
        let also = if others.is_empty() { String::new() } else { format!(", also after {}", others.join(", ")) };
        let line = format!("{} ({}, {}{also})", node.name, node.command, node.note);
        *text += &format!("{indent}{}{}\n", if is_last { "└─ " } else { "├─ " }, format::clean(&line));
        branch(nodes, Some(node.name), &format!("{indent}{}", if is_last { "   " } else { "│  " }), text);
    }
}

fn mermaid(nodes: &[Node<'_>]) -> String {
    let mut text = "flowchart LR\n".to_owned();
    let place = |name: &str| nodes.iter().position(|node| node.name == name);
    let draw = |(at, node): (usize, &Node<'_>)| {
        let class = if node.class.is_empty() { String::new() } else { format!(":::{}", node.class) };
        let name = format!("{} {}", node.symbol, node.name);
        format!("s{at}[\"{}<br/>{}<br/>{}\"]{class}\n", label(name.trim()), label(node.command), label(node.note))
    };
    let all = || nodes.iter().enumerate();
    for line in all().filter(|(_, node)| !node.is_after_compensation).map(draw) {
        text += &format!("    {line}");
    }
    if nodes.iter().any(|node| node.is_after_compensation) {
        text += "    subgraph compensated [after a compensation]\n";
        for line in all().filter(|(_, node)| node.is_after_compensation).map(draw) {
            text += &format!("        {line}");
        }
        text += "    end\n";
    }
    for (at, node) in all() {
        for from in node.after.iter().filter_map(|name| place(name)) {
            text += &format!("    s{from} --> s{at}\n");
        }
    }
    for (name, css) in CLASSES.iter().filter(|(name, _)| nodes.iter().any(|node| node.class == *name)) {
        text += &format!("    classDef {name} {css}\n");
    }
    text
}

/// Text inside a quoted label.
fn label(text: &str) -> String {
    format::clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn class(state: &str) -> &'static str {
    match state {
        "succeeded" => "good",
        "executing" => "busy",
        "waiting" | "unknown" => "warn",
        "refused" | "parked" => "bad",
        "compensating" | "compensated" => "undone",
        _ => "faint",
    }
}

#[cfg(test)]
mod tests {
    use amends_proto::amends::v1::StepDefinition;

    use super::*;
    use crate::output::samples;

    fn step(name: &str, after: &[&str]) -> StepDefinition {
        StepDefinition {
            name: name.to_owned(),
            command: format!("{name}.do"),
            kind: "compensatable".to_owned(),
            on: "forward".to_owned(),
            after: after.iter().map(|&name| name.to_owned()).collect(),
            ..StepDefinition::default()
        }
    }

    fn diamond() -> SagaDefinition {
        let tell = StepDefinition { on: "compensated".to_owned(), ..step("tell", &[]) };
        let steps = vec![step("a", &[]), step("b", &["a"]), step("c", &["a"]), step("d", &["b", "c"]), tell];
        SagaDefinition { r#type: "trip".to_owned(), version: 2, steps, ..SagaDefinition::default() }
    }

    #[test]
    fn tree_shows_branches_and_joins() {
        let expected = "\
trip version 2
└─ a (a.do, compensatable)
   ├─ b (b.do, compensatable)
   └─ c (c.do, compensatable)
      └─ d (d.do, compensatable, also after b)
after a compensation
└─ tell (tell.do, compensatable)
";
        assert_eq!(definition_tree(&diamond()), expected);
    }

    #[test]
    fn flowchart_has_every_edge() {
        let text = definition_mermaid(&diamond());
        for edge in ["s0 --> s1", "s0 --> s2", "s1 --> s3", "s2 --> s3"] {
            assert!(text.contains(edge), "{text}");
        }
        assert!(text.contains("    subgraph compensated [after a compensation]\n        s4["), "{text}");
    }

    #[test]
    fn flowchart_of_a_saga_is_coloured_by_state() {
        let mut saga = samples::compensated();
        saga.steps.truncate(3);
        saga.steps[1].after = vec!["create_order".to_owned()];
        saga.steps[2].after = vec!["charge_payment".to_owned()];
        let expected = "\
flowchart LR
    s0[\"↩ create_order<br/>order.create<br/>compensated\"]:::undone
    s1[\"↩ charge_payment<br/>payment.charge<br/>compensated\"]:::undone
    s2[\"✗ reserve_inventory<br/>inventory.reserve<br/>refused\"]:::bad
    s0 --> s1
    s1 --> s2
    classDef bad fill:#fde0e0,stroke:#c53030,color:#123
    classDef undone fill:#eadcf9,stroke:#6b46c1,color:#123
";
        assert_eq!(saga_mermaid(&saga), expected);
    }
}
