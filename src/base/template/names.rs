//! Functions, variables and templates that a template names must exist and fit, so that a misspelling is found at once and not
//! when its branch is first taken.

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr};

use super::{Functions, Problem};

/// Checks every body; the first problem wins.
pub(super) fn check(bodies: &[(String, ListNode)], functions: &Functions) -> Result<(), Problem> {
    for (_, body) in bodies {
        let mut checker = Checker { bodies, functions, variables: vec!["$".into()] };
        checker.list(body)?;
    }
    Ok(())
}

struct Checker<'a> {
    bodies: &'a [(String, ListNode)],
    functions: &'a Functions,
    /// Those in scope, innermost last.
    variables: Vec<SmolStr>,
}

impl Checker<'_> {
    fn list(&mut self, list: &ListNode) -> Result<(), Problem> {
        list.nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &Node) -> Result<(), Problem> {
        match node {
            Node::Action(action) => self.pipe(&action.pipe),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
            Node::List(list) => self.list(list),
            Node::Template(call) => {
                if !self.bodies.iter().any(|(name, _)| name == call.name.as_str()) {
                    let message = format!("template {:?} is not defined", call.name);
                    return Err(Problem { offset: call.pos.offset, message });
                }
                call.pipe.as_ref().map_or(Ok(()), |pipe| self.pipe(pipe))
            }
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &BranchNode) -> Result<(), Problem> {
        let outside = self.variables.len();
        self.pipe(&branch.pipe)?;
        let declared = self.variables.len();
        self.list(&branch.body)?;
        self.variables.truncate(declared);
        if let Some(otherwise) = &branch.else_body {
            self.list(otherwise)?;
        }
        self.variables.truncate(outside);
        Ok(())
    }

    fn pipe(&mut self, pipe: &PipeNode) -> Result<(), Problem> {
        for (number, command) in pipe.commands.iter().enumerate() {
            self.command(command, number > 0)?;
        }
        for name in &pipe.decl {
            if !pipe.is_assign {
                self.variables.push(name.clone());
            } else if !self.variables.contains(name) {
                return Err(undefined_variable(name, pipe.pos.offset));
            }
        }
        Ok(())
    }

    /// A function with its arguments, of which the last comes through the pipe if `piped`; or a single value.
    fn command(&mut self, command: &CommandNode, piped: bool) -> Result<(), Problem> {
        let Some((first, rest)) = command.args.split_first() else { return Ok(()) };
        let count = rest.len() + usize::from(piped);
        let function = match first {
            Expr::Chain(_, inner, _) => inner,
            other => other,
        };
        match function {
            Expr::Identifier(pos, name) => self.call(*pos, name, count)?,
            _ if count > 0 => {
                let message = "this is no function, and so takes no arguments".to_owned();
                return Err(Problem { offset: first.pos().offset, message });
            }
            _ => self.expression(first)?,
        }
        rest.iter().try_for_each(|argument| self.expression(argument))
    }

    fn call(&self, pos: Pos, name: &str, count: usize) -> Result<(), Problem> {
        self.functions.allow(name, count).map_err(|message| Problem { offset: pos.offset, message })
    }

    fn expression(&mut self, expression: &Expr) -> Result<(), Problem> {
        match expression {
            Expr::Identifier(pos, name) => self.call(*pos, name, 0),
            Expr::Variable(pos, name, _) if !self.variables.contains(name) => Err(undefined_variable(name, pos.offset)),
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expression(inner),
            _ => Ok(()),
        }
    }
}

fn undefined_variable(name: &str, offset: usize) -> Problem {
    Problem { offset, message: format!("variable {name:?} is not defined") }
}
