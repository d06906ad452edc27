//! Source text in which every mutant of a file is there at once, and one at most takes effect.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A mutant as `cargo mutants --list --json` names it.
#[derive(Clone, Deserialize)]
pub struct Mutant {
    pub name: String,
    pub file: String,
    genre: Genre,
    span: LineColumns,
    replacement: String,
    function: Option<Function>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Genre {
    BinaryOperator,
    FnValue,
    MatchArm,
    MatchArmGuard,
    StructField,
    UnaryOperator,
}

#[derive(Clone, Copy, Deserialize)]
struct LineColumns {
    start: LineColumn,
    end: LineColumn,
}

/// Both from 1, in characters.
#[derive(Clone, Copy, Deserialize)]
struct LineColumn {
    line: usize,
    column: usize,
}

#[derive(Clone, Deserialize)]
struct Function {
    return_type: String,
}

/// A file with its mutants in it.
pub struct Switched {
    pub text: String,
    /// Which bytes of the text stand for which mutants, so that errors can be told of them.
    pub regions: Vec<(Range<usize>, Vec<usize>)>,
    /// The place that asks whether a mutant takes effect, by mutant.
    pub places: BTreeMap<usize, usize>,
    /// The mutants that are not in it.
    pub left_out: Vec<usize>,
}

/// Puts `mutants`, by their numbers, into `source`.
pub fn switch(source: &str, mutants: &BTreeMap<usize, &Mutant>) -> Result<Switched, syn::Error> {
    let lines: Vec<usize> = std::iter::once(0)
        .chain(source.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let offset = |at: LineColumn| {
        let line = lines[at.line - 1];
        let characters = source[line..].chars().take(at.column - 1);
        line + characters.map(char::len_utf8).sum::<usize>()
    };
    let mut finder = Finder {
        source,
        open: BTreeMap::new(),
        sites: Vec::new(),
    };
    let mut left_out = Vec::new();
    let mut bodies: BTreeMap<(usize, usize), Vec<(usize, String)>> = BTreeMap::new();
    for (&id, mutant) in mutants {
        let range = (offset(mutant.span.start), offset(mutant.span.end));
        let returns_opaque = |function: &Function| function.return_type.contains("impl ");
        if mutant.genre != Genre::FnValue {
            finder.open.insert((range, id), *mutant);
        } else if mutant.function.as_ref().is_some_and(returns_opaque) {
            // One function has one opaque type.
            left_out.push(id);
        } else {
            bodies
                .entry(range)
                .or_default()
                .push((id, mutant.replacement.clone()));
        }
    }
    finder.visit_file(&syn::parse_file(source)?);
    left_out.extend(finder.open.keys().map(|(_, id)| *id));
    let mut sites = finder.sites;
    sites.extend(bodies.into_iter().map(|((start, end), arms)| Site {
        range: start..end,
        arms,
        shape: Shape::Body,
    }));
    // Outermost first.
    sites.sort_by_key(|site| (site.range.start, usize::MAX - site.range.end, site.shape));
    let mut writer = Writer {
        source,
        sites: &sites,
        text: String::new(),
        regions: Vec::new(),
        places: BTreeMap::new(),
    };
    writer.span(0..source.len(), 0);
    Ok(Switched {
        text: writer.text,
        regions: writer.regions,
        places: writer.places,
        left_out,
    })
}

/// Something that mutants change.
struct Site {
    range: Range<usize>,
    /// What each mutant makes of it.
    arms: Vec<(usize, String)>,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// The statements of a function, which return at once instead.
    Body,
    /// A `match` of which arms are taken out, only so that errors about it can be told of them.
    Match,
    /// An expression that another takes the place of.
    Expression,
    /// The end of a pattern without a guard, whose arm is taken out.
    Pattern,
}

struct Finder<'s> {
    source: &'s str,
    /// The mutants that were not found yet.
    open: BTreeMap<((usize, usize), usize), &'s Mutant>,
    sites: Vec<Site>,
}

impl<'s> Finder<'s> {
    /// The mutants of a kind at a range; what cargo-mutants names may go without the comma at its end.
    fn take(&mut self, range: &Range<usize>, genre: Genre) -> Vec<(usize, &'s Mutant)> {
        let at_start = self.open.range(((range.start, 0), 0)..((range.start + 1, 0), 0));
        let found: Vec<_> = at_start
            .filter(|(((_, end), _), mutant)| mutant.genre == genre && end.abs_diff(range.end) <= 1)
            .map(|(key, mutant)| (*key, *mutant))
            .collect();
        for (key, _) in &found {
            self.open.remove(key);
        }
        found.into_iter().map(|((_, id), mutant)| (id, mutant)).collect()
    }

    fn site(&mut self, range: Range<usize>, arms: Vec<(usize, String)>, shape: Shape) {
        if !arms.is_empty() {
            self.sites.push(Site { range, arms, shape });
        }
    }

    /// The operators of a chain such as `a + b < c`, with what each mutant makes of all of it: another operator may bind otherwise.
    fn chain(&mut self, whole: &Range<usize>, binary: &syn::ExprBinary, arms: &mut Vec<(usize, String)>) {
        let operator = binary.op.span().byte_range();
        for (id, mutant) in self.take(&operator, Genre::BinaryOperator) {
            let before = &self.source[whole.start..operator.start];
            let after = &self.source[operator.end..whole.end];
            arms.push((id, format!("{before}{}{after}", mutant.replacement)));
        }
        for side in [&binary.left, &binary.right] {
            if let syn::Expr::Binary(inner) = &**side {
                self.chain(whole, inner, arms);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        // `let` stands only at the top of a condition.
        if !has_let(&binary.left) && !has_let(&binary.right) {
            let range = binary.span().byte_range();
            let mut arms = Vec::new();
            self.chain(&range, binary, &mut arms);
            self.site(range, arms, Shape::Expression);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let operand = &self.source[unary.expr.span().byte_range()];
        let found = self.take(&unary.op.span().byte_range(), Genre::UnaryOperator);
        let arms = found
            .into_iter()
            .map(|(id, _)| (id, operand.to_owned()))
            .collect();
        self.site(unary.span().byte_range(), arms, Shape::Expression);
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, matching: &'ast syn::ExprMatch) {
        let mut taken_out = Vec::new();
        for arm in &matching.arms {
            let deleted = self.take(&arm.span().byte_range(), Genre::MatchArm);
            taken_out.extend(deleted.iter().map(|(id, _)| (*id, String::new())));
            let never = deleted.into_iter().map(|(id, _)| (id, "false".to_owned()));
            if let Some((_, guard)) = &arm.guard {
                let range = guard.span().byte_range();
                let replaced = self.take(&range, Genre::MatchArmGuard);
                let replaced = replaced
                    .into_iter()
                    .map(|(id, mutant)| (id, mutant.replacement.clone()));
                self.site(range, never.chain(replaced).collect(), Shape::Expression);
            } else {
                let end = arm.pat.span().byte_range().end;
                self.site(end..end, never.collect(), Shape::Pattern);
            }
        }
        self.site(matching.span().byte_range(), taken_out, Shape::Match);
        visit::visit_expr_match(self, matching);
    }

    fn visit_expr_struct(&mut self, made: &'ast syn::ExprStruct) {
        let rest = made
            .rest
            .as_ref()
            .map(|rest| &self.source[rest.span().byte_range()]);
        // Any other rest may be there but once.
        let rest = rest
            .filter(|rest| rest.ends_with("::default()"))
            .map(|rest| match rest {
                "Default::default()" => {
                    format!("<{}>::default()", &self.source[made.path.span().byte_range()])
                }
                rest => rest.to_owned(),
            });
        let named = made.fields.iter().filter(|field| field.colon_token.is_some());
        for (field, rest) in named.zip(rest.iter().cycle()) {
            let syn::Member::Named(name) = &field.member else {
                continue;
            };
            let found = self.take(&field.span().byte_range(), Genre::StructField);
            let arms = found
                .into_iter()
                .map(|(id, _)| (id, format!("({rest}).{name}")))
                .collect();
            self.site(field.expr.span().byte_range(), arms, Shape::Expression);
        }
        visit::visit_expr_struct(self, made);
    }
}

fn has_let(condition: &syn::Expr) -> bool {
    match condition {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

struct Writer<'s> {
    source: &'s str,
    sites: &'s [Site],
    text: String,
    regions: Vec<(Range<usize>, Vec<usize>)>,
    places: BTreeMap<usize, usize>,
}

impl Writer<'_> {
    /// Writes a range of the source, with the outermost of the sites in it from this one on.
    fn span(&mut self, range: Range<usize>, first: usize) {
        let mut at = range.start;
        for (next, site) in self.sites.iter().enumerate().skip(first) {
            if site.range.start > range.end {
                break;
            }
            if site.range.start >= at && site.range.end <= range.end {
                self.text.push_str(&self.source[at..site.range.start]);
                self.site(site, next);
                at = site.range.end;
            }
        }
        self.text.push_str(&self.source[at..range.end]);
    }

    fn site(&mut self, site: &Site, number: usize) {
        let from = self.text.len();
        let place = site.arms[0].0;
        let ask = format!("crate::__mutant({place})");
        if site.shape != Shape::Match {
            self.places.extend(site.arms.iter().map(|(id, _)| (*id, place)));
        }
        match site.shape {
            Shape::Body => {
                for (id, value) in &site.arms {
                    self.arm(*id, &format!("if {ask} == {id} {{ return {value}; }} "));
                }
                self.span(site.range.clone(), number + 1);
            }
            Shape::Expression => {
                self.text.push_str(&format!("(match {ask} {{ "));
                for (id, value) in &site.arms {
                    self.arm(*id, &format!("{id} => {value}, "));
                }
                self.text.push_str("_ => ");
                self.span(site.range.clone(), number + 1);
                self.text.push_str(" })");
            }
            Shape::Match => self.span(site.range.clone(), number + 1),
            Shape::Pattern => self.text.push_str(&format!(" if {ask} != {place}")),
        }
        let ids = site.arms.iter().map(|(id, _)| *id).collect();
        self.regions.push((from..self.text.len(), ids));
    }

    fn arm(&mut self, id: usize, text: &str) {
        let from = self.text.len();
        self.text.push_str(text);
        self.regions.push((from..self.text.len(), vec![id]));
    }
}
