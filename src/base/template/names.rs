//! Functions, variables and templates that a template names must exist, so that a misspelling is found at once and not
//! when its branch is first taken.

use gotmpl::parse::{BranchNode, Expr, ListNode, Node, PipeNode, SmolStr};

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
        for argument in pipe.commands.iter().flat_map(|command| &command.args) {
            self.expression(argument)?;
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

    fn expression(&mut self, expression: &Expr) -> Result<(), Problem> {
        match expression {
            Expr::Identifier(pos, name) if !self.functions.has(name) => {
                Err(Problem { offset: pos.offset, message: format!("function {name:?} is not defined") })
            }
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
