//! Places for errors at run time: before each action a hidden one notes where in the source the rendering has come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gotmpl::parse::{ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos};
use gotmpl::{TemplateError, Value, ValueFunc};

use super::budget::STEPS;

/// No identifier of a template can be this.
pub(super) const NOTE: &str = "@place";
/// A variable that takes the hidden call's result, since an action that declares one prints nothing.
const SINK: &str = "$@";

/// Inserts the notes.
pub(super) fn mark(list: &mut ListNode) {
    let nodes = std::mem::take(&mut list.nodes);
    for mut node in nodes {
        let place = match &mut node {
            Node::Action(action) => Some(first_command(&action.pipe).unwrap_or(action.pos)),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                mark_branch(branch);
                Some(branch.pos)
            }
            Node::Template(call) => Some(call.pos),
            Node::List(list) => {
                mark(list);
                None
            }
            _ => None,
        };
        list.nodes.extend(place.map(note));
        list.nodes.push(node);
    }
}

fn first_command(pipe: &PipeNode) -> Option<Pos> {
    pipe.commands.first().map(|command| command.pos)
}

fn mark_branch(branch: &mut BranchNode) {
    mark(&mut branch.body);
    if let Some(otherwise) = &mut branch.else_body {
        mark(otherwise);
    }
}

fn note(pos: Pos) -> Node {
    let offset = i64::try_from(pos.offset).unwrap_or(0);
    let args = vec![Expr::Identifier(pos, NOTE.into()), Expr::Number(pos, Number::Int(offset))];
    let pipe = PipeNode { pos, decl: vec![SINK.into()], commands: vec![CommandNode { pos, args }], is_assign: false };
    Node::Action(ActionNode { pos, pipe })
}

/// The hidden function; it keeps the last place in `place`, and ends a rendering that takes too many steps.
pub(super) fn noting(place: &Arc<AtomicUsize>) -> ValueFunc {
    let (place, steps) = (Arc::clone(place), AtomicUsize::new(0));
    Arc::new(move |args| {
        if steps.fetch_add(1, Ordering::Relaxed) >= STEPS {
            return Err(TemplateError::Exec(format!("the template takes more than {STEPS} steps")));
        }
        if let Some(Value::Int(offset)) = args.first() {
            place.store(usize::try_from(*offset).unwrap_or(0), Ordering::Relaxed);
        }
        Ok(Value::Nil)
    })
}
