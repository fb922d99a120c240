//! Checks the order between the steps: that it is one, and that it keeps the promise of each kind.
//!
//! Sets of steps are bit masks, which is why there are at most [`STEPS_MAX`] steps.

use toml::Spanned;

use super::read::{Problems, line_of};
use super::{On, StepIndex, StepKind};

/// Most steps of one definition: a set of them fits into 64 bits.
pub(super) const STEPS_MAX: usize = 64;

/// What is known of a step when the order is checked; parts that could not be read are `None`.
pub(super) struct Node<'t> {
    /// Where the step begins.
    pub(super) at: usize,
    /// Its name as written, legal or not.
    pub(super) name: Option<Spanned<&'t str>>,
    /// Its kind.
    pub(super) kind: Option<Spanned<StepKind>>,
    /// When it runs.
    pub(super) on: On,
    /// Its `after` as written; `None` means the step before.
    pub(super) after: Option<Vec<Spanned<&'t str>>>,
}

impl Node<'_> {
    /// The step as messages name it.
    pub(super) fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| "a step without a name".to_owned(), |name| format!("step `{name}`"))
    }

    fn kind(&self) -> Option<StepKind> {
        self.kind.as_ref().map(|kind| *kind.get_ref())
    }

    fn is_forward(&self, kind: StepKind) -> bool {
        self.on == On::Forward && self.kind() == Some(kind)
    }

    fn kind_at(&self) -> usize {
        self.kind.as_ref().map_or(self.at, |kind| kind.span().start)
    }
}

/// The order between the steps.
pub(super) struct Order {
    /// Per step, the steps that it directly comes after, without doubles, in the order they are written.
    pub(super) after: Vec<Vec<StepIndex>>,
    /// Per step, one bit for each step that is confirmed before it starts. All bits when the order is broken, so that
    /// one mistake is not reported as many.
    pub(super) ancestors: Vec<u64>,
}

impl Order {
    /// Whether `step` runs only after `other` is confirmed.
    fn follows(&self, step: usize, other: usize) -> bool {
        self.ancestors[step] >> other & 1 == 1
    }
}

/// Works out the order and reports what is wrong with it.
pub(super) fn order(nodes: &[Node<'_>], source: &str, problems: &Problems) -> Order {
    if let Some(surplus) = nodes.get(STEPS_MAX) {
        problems.report(surplus.at, format!("a definition has at most {STEPS_MAX} steps, this one {}", nodes.len()));
        return Order { after: vec![Vec::new(); nodes.len()], ancestors: vec![u64::MAX; nodes.len()] };
    }
    let resolved: Vec<_> = (0..nodes.len()).map(|index| after(nodes, index, problems)).collect();
    let known = resolved.iter().all(Option::is_some);
    let after: Vec<_> = resolved.into_iter().map(Option::unwrap_or_default).collect();
    let mut order = Order { ancestors: ancestors(&after), after };
    let cyclic = cycles(nodes, &order, problems);
    let pivot = single_pivot(nodes, source, problems);
    for node in nodes.iter().filter(|node| node.on == On::Compensated) {
        if node.kind().is_some_and(|kind| kind != StepKind::Retriable) {
            let label = node.label();
            let message = format!("{label} runs after a compensation, so it must be kind = \"retriable\"");
            problems.report(node.kind_at(), message);
        }
    }
    if !known || cyclic {
        order.ancestors.fill(u64::MAX);
        return order;
    }
    match pivot {
        Ok(Some(pivot)) => around_pivot(nodes, &order, pivot, source, problems),
        Ok(None) => without_pivot(nodes, &order, problems),
        Err(()) => {}
    }
    order
}

/// The steps that one step directly comes after; `None` if a name among them is wrong.
fn after(nodes: &[Node<'_>], index: usize, problems: &Problems) -> Option<Vec<StepIndex>> {
    let node = &nodes[index];
    let Some(names) = &node.after else {
        let before = nodes[..index].iter().rposition(|other| other.on == node.on);
        return Some(before.map(StepIndex).into_iter().collect());
    };
    let mut found: Option<Vec<StepIndex>> = Some(Vec::new());
    for name in names {
        let position =
            nodes.iter().position(|other| other.name.as_ref().is_some_and(|n| n.get_ref() == name.get_ref()));
        let reason = match position {
            None => Some(format!("comes after `{name}`, but there is no such step")),
            Some(same) if same == index => Some("comes after itself".to_owned()),
            Some(other) => apart(node.on, nodes[other].on, name.get_ref()),
        };
        match (reason, position) {
            (None, Some(other)) => found.iter_mut().for_each(|found| {
                if !found.contains(&StepIndex(other)) {
                    found.push(StepIndex(other));
                }
            }),
            (reason, _) => {
                let reason = reason.unwrap_or_default();
                problems.report(name.span().start, format!("{} {reason}", node.label()));
                found = None;
            }
        }
    }
    found
}

fn apart(own: On, other: On, name: &str) -> Option<String> {
    match (own, other) {
        (On::Forward, On::Compensated) => {
            Some(format!("is on the way forward and cannot come after `{name}`, which runs after a compensation"))
        }
        (On::Compensated, On::Forward) => Some(format!(
            "runs after a compensation and can only come after other such steps; `{name}` is on the way forward"
        )),
        _ => None,
    }
}

/// Adds the predecessors' own until nothing changes; cycles end up among their own ancestors.
fn ancestors(after: &[Vec<StepIndex>]) -> Vec<u64> {
    let mut masks = vec![0u64; after.len()];
    loop {
        let mut changed = false;
        for (index, before) in after.iter().enumerate() {
            let mask = before.iter().fold(0, |mask, step| mask | 1 << step.0 | masks[step.0]);
            changed |= mask != masks[index];
            masks[index] = mask;
        }
        if !changed {
            return masks;
        }
    }
}

/// Reports each cycle once, by the steps on it.
fn cycles(nodes: &[Node<'_>], order: &Order, problems: &Problems) -> bool {
    let mut reported = 0u64;
    for start in (0..nodes.len()).filter(|step| order.follows(*step, *step)) {
        if reported >> start & 1 == 1 {
            continue;
        }
        let mut path = vec![start];
        let mut here = start;
        // Every step on the way back to the start follows the start, so the walk cannot leave the knot; it ends at
        // the first step that it meets again.
        let entry = loop {
            let back = order.after[here].iter().map(|step| step.0).filter(|step| order.follows(*step, start));
            let Some(next) = back.min_by_key(|step| (*step != start, *step)) else { break 0 };
            if let Some(entry) = path.iter().position(|step| *step == next) {
                break entry;
            }
            path.push(next);
            here = next;
        };
        let knot = (0..nodes.len()).filter(|step| order.follows(*step, start) && order.follows(start, *step));
        reported |= knot.fold(0, |mask, step| mask | 1 << step);
        let names: Vec<_> = path[entry..].iter().chain(&path[entry..=entry]).map(|step| nodes[*step].label()).collect();
        problems.report(nodes[start].at, format!("steps wait for each other: {}", names.join(" after ")));
    }
    reported != 0
}

/// Finds the pivot; `Err` if there are several.
fn single_pivot(nodes: &[Node<'_>], source: &str, problems: &Problems) -> Result<Option<usize>, ()> {
    let mut pivots = (0..nodes.len()).filter(|index| nodes[*index].is_forward(StepKind::Pivot));
    let Some(first) = pivots.next() else { return Ok(None) };
    let mut single = Ok(Some(first));
    for other in pivots {
        let message = format!(
            "{} is a second pivot; {} on line {} is one already, and a saga has at most one point of no return",
            nodes[other].label(),
            nodes[first].label(),
            line_of(source, nodes[first].kind_at()),
        );
        problems.report(nodes[other].kind_at(), message);
        single = Err(());
    }
    single
}

fn around_pivot(nodes: &[Node<'_>], order: &Order, pivot: usize, source: &str, problems: &Problems) {
    let pivot_label = nodes[pivot].label();
    let line = line_of(source, nodes[pivot].kind_at());
    for (index, node) in nodes.iter().enumerate() {
        let label = node.label();
        let message = if node.is_forward(StepKind::Compensatable) && order.follows(index, pivot) {
            format!(
                "{label} is compensatable but comes after the pivot, {pivot_label} on line {line}: beyond the point of \
                 no return nothing is undone; make it retriable or move it before the pivot"
            )
        } else if node.is_forward(StepKind::Compensatable) && !order.follows(pivot, index) {
            format!(
                "{label} is compensatable, so the pivot, {pivot_label} on line {line}, must come after it; add it to \
                 the pivot's `after`"
            )
        } else if node.is_forward(StepKind::Retriable) && !order.follows(index, pivot) {
            format!(
                "{label} is retriable, which is never undone, so it must come after the pivot, {pivot_label} on line \
                 {line}"
            )
        } else {
            continue;
        };
        problems.report(node.kind_at(), message);
    }
}

fn without_pivot(nodes: &[Node<'_>], order: &Order, problems: &Problems) {
    let all = 0..nodes.len();
    let compensatable: Vec<_> = all.clone().filter(|step| nodes[*step].is_forward(StepKind::Compensatable)).collect();
    for retriable in all.filter(|step| nodes[*step].is_forward(StepKind::Retriable)) {
        for step in compensatable.iter().copied().filter(|step| !order.follows(retriable, *step)) {
            let (undone, kept) = (nodes[step].label(), nodes[retriable].label());
            let message = if order.follows(step, retriable) {
                format!(
                    "{undone} is compensatable but comes after {kept}, which is retriable and never undone; make it \
                     retriable or move it before"
                )
            } else {
                format!("{kept} is retriable, which is never undone, so it must come after {undone}, which may be")
            };
            let at = if order.follows(step, retriable) { step } else { retriable };
            problems.report(nodes[at].kind_at(), message);
        }
    }
}
