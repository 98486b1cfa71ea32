//! consul-template's `scratch`: a template's own notes, which live as long as one rendering.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::Value;
use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode};

use super::functions::{Functions, string};
use super::values::map_of;

/// The methods with the number of their arguments.
const METHODS: [(&str, usize); 7] = [
    ("scratch.Key", 1),
    ("scratch.Get", 1),
    ("scratch.Set", 2),
    ("scratch.SetX", 2),
    ("scratch.MapSet", 3),
    ("scratch.MapSetX", 3),
    ("scratch.MapValues", 1),
];

/// How many arguments a method takes.
pub(super) fn arity(name: &str) -> Option<RangeInclusive<usize>> {
    METHODS.iter().find(|(known, _)| *known == name).map(|(_, count)| *count..=*count)
}

type Notes = Arc<Mutex<BTreeMap<String, Value>>>;

/// Adds the methods, with notes of their own.
pub(super) fn register(set: &mut Functions) {
    let notes = Notes::default();
    for (name, count) in METHODS {
        let notes = Arc::clone(&notes);
        set.add(name, count..=count, move |args| {
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            let key = string(args, 0)?;
            let once = name.ends_with('X');
            match name {
                "scratch.Key" => return Ok(Value::Bool(notes.contains_key(&key))),
                "scratch.Get" => return Ok(notes.get(&key).cloned().unwrap_or(Value::Nil)),
                "scratch.MapValues" => {
                    return match notes.get(&key) {
                        Some(Value::Map(map)) => Ok(Value::List(map.values().cloned().collect())),
                        Some(_) => Err("this is no map".to_owned()),
                        None => Ok(Value::Nil),
                    };
                }
                "scratch.Set" | "scratch.SetX" if !once || !notes.contains_key(&key) => {
                    notes.insert(key, args[1].clone());
                }
                "scratch.MapSet" | "scratch.MapSetX" => {
                    let field = string(args, 1)?;
                    let before = match notes.get(&key) {
                        None => BTreeMap::new(),
                        Some(Value::Map(map)) => (**map).clone(),
                        Some(_) => return Err("this is no map".to_owned()),
                    };
                    if !once || !before.contains_key(field.as_str()) {
                        let entries = before.iter().map(|(name, value)| (&**name, value.clone()));
                        let added = entries.chain([(field.as_str(), args[2].clone())]);
                        notes.insert(key, map_of(added));
                    }
                }
                _ => {}
            }
            Ok(Value::from(""))
        });
    }
}

/// Makes one name of `scratch.Set`, as the language below us knows no methods.
pub(super) fn name_methods(list: &mut ListNode) {
    for node in &mut list.nodes {
        match node {
            Node::Action(action) => pipe(&mut action.pipe),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self::branch(branch),
            Node::List(list) => name_methods(list),
            Node::Template(call) => call.pipe.iter_mut().for_each(pipe),
            _ => {}
        }
    }
}

fn branch(branch: &mut BranchNode) {
    pipe(&mut branch.pipe);
    name_methods(&mut branch.body);
    branch.else_body.iter_mut().for_each(name_methods);
}

fn pipe(pipe: &mut PipeNode) {
    for CommandNode { args, .. } in &mut pipe.commands {
        args.iter_mut().for_each(expression);
    }
}

fn expression(expression: &mut Expr) {
    match expression {
        Expr::Pipe(_, inner) => pipe(inner),
        Expr::Chain(pos, inner, fields) => {
            if let (Expr::Identifier(_, name), [method]) = (&**inner, &fields[..])
                && name == "scratch"
            {
                *expression = Expr::Identifier(*pos, format!("scratch.{method}").into());
            } else {
                self::expression(inner);
            }
        }
        _ => {}
    }
}
