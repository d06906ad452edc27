//! From operations to modify requests: what goes together, and what is tried instead of what was refused.
//!
//! A modify request happens whole or not at all (RFC 4511, section 4.6), and fails when a value to be added is there already or
//! one to be deleted is not. So what succeeds has changed what it says, and nothing is read before.

use usersync_connector::{Error, ErrorKind, Retry};

use crate::client::Code;

/// How many bytes of values one request has at most. Servers end connections on which larger requests come, at sizes of
/// their own; the smallest default is 256 KiB.
const REQUEST_BYTES: usize = 128 << 10;
/// How often a change is tried again because others changed the group meanwhile.
const TRIES: u32 = 5;
/// After how many denials of single wishes, one after another, what is denied whole is not taken apart any more.
const DENIALS: u32 = 8;

const TIME_LIMIT_EXCEEDED: u32 = 3;
const STRONGER_AUTH_REQUIRED: u32 = 8;
const REFERRAL: u32 = 10;
const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;
const CONFIDENTIALITY_REQUIRED: u32 = 13;
const NO_SUCH_ATTRIBUTE: u32 = 16;
const ATTRIBUTE_OR_VALUE_EXISTS: u32 = 20;
const NO_SUCH_OBJECT: u32 = 32;
const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;
const UNWILLING_TO_PERFORM: u32 = 53;
const OBJECT_CLASS_VIOLATION: u32 = 65;
const ENTRY_ALREADY_EXISTS: u32 = 68;
const OTHER: u32 = 80;
const ASSERTION_FAILED: u32 = 122;

/// One wish: that somebody is a member, or is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) add: bool,
    /// The values by which the group names him, at least one; one if he is to be added.
    pub(super) values: Vec<Vec<u8>>,
}

/// What one modify request does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) add: Vec<Vec<u8>>,
    pub(super) delete: Vec<Vec<u8>>,
}

/// What became of a group that was not where it had been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Gone,
    Moved,
    Same,
}

/// A group at a server.
pub(super) trait ChangedGroup {
    /// Sends one modify request.
    async fn modify(&mut self, request: Request) -> Result<Code, Error>;

    /// Whether the group has one of the values of each wish; none if it is not where it had been.
    async fn present(&mut self, wishes: &[&Wish]) -> Result<Option<Vec<bool>>, Error>;

    /// Looks for the group again.
    async fn find_again(&mut self) -> Result<Whereabouts, Error>;
}

/// Fulfils wishes, no two of them for the same person: whether each changed anything, in their order. `placeholder` takes the
/// place of a last member.
pub(super) async fn fulfil<G: ChangedGroup>(
    group: &mut G,
    wishes: &[Wish],
    placeholder: Option<&[u8]>,
) -> Vec<Result<bool, Error>> {
    let mut run = Run {
        wishes,
        placeholder: placeholder.map(|value| Placeholder {
            wish: Wish {
                add: true,
                values: vec![value.to_vec()],
            },
            present: None,
        }),
        parts: first_parts(wishes),
        results: wishes.iter().map(|_| None).collect(),
        open: vec![false; wishes.len()],
        denials: 0,
    };
    while let Some(part) = run.parts.pop() {
        if let Err(stop) = run.part(group, part).await {
            run.stop(stop);
        }
    }
    let unsettled =
        || Err(Error::new(ErrorKind::Unexpected, "the operation was not tried").with_unknown_outcome(false));
    run.results
        .into_iter()
        .map(|result| result.unwrap_or_else(unsettled))
        .collect()
}

/// Wishes that go into one request, additions first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    wishes: Vec<usize>,
    /// Whether the placeholder comes in their stead.
    insert_placeholder: bool,
    tries: u32,
}

struct Placeholder {
    wish: Wish,
    present: Option<bool>,
}

struct Run<'w> {
    wishes: &'w [Wish],
    placeholder: Option<Placeholder>,
    /// The last one is next.
    parts: Vec<Part>,
    results: Vec<Option<Result<bool, Error>>>,
    /// Which of them another server may have fulfilled, although they are tried again.
    open: Vec<bool>,
    /// How many single wishes the server denied since it fulfilled one.
    denials: u32,
}

/// Why nothing more can be sent.
struct Stop {
    error: Error,
    /// What was sent and not answered.
    sent: Option<Part>,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self { error, sent: None }
    }
}

impl Run<'_> {
    async fn part<G: ChangedGroup>(&mut self, group: &mut G, part: Part) -> Result<(), Stop> {
        if part.tries > TRIES {
            let message =
                "the group was changed by others in every moment in which this was tried; try again";
            let error = Error::new(ErrorKind::Conflict, message).with_retry(Retry::Later);
            self.leave(&part, &error);
            return Ok(());
        }
        let takes_placeholder = self.takes_placeholder(group, &part).await?;
        let request = self.request(&part, takes_placeholder);
        let code = match group.modify(request).await {
            Ok(code) => code,
            Err(error) => {
                return Err(Stop {
                    error,
                    sent: Some(part),
                });
            }
        };
        if code.is_success() {
            self.denials = 0;
            if let Some(placeholder) = &mut self.placeholder
                && (takes_placeholder || part.insert_placeholder)
            {
                placeholder.present = Some(part.insert_placeholder);
            }
            part.wishes
                .iter()
                .for_each(|&wish| self.results[wish] = Some(Ok(true)));
            return Ok(());
        }
        match code.number {
            NO_SUCH_ATTRIBUTE | ATTRIBUTE_OR_VALUE_EXISTS if takes_placeholder || part.insert_placeholder => {
                // It may be the placeholder that came or went.
                self.placeholder
                    .iter_mut()
                    .for_each(|placeholder| placeholder.present = None);
                self.sort_out(group, part, &code).await
            }
            NO_SUCH_ATTRIBUTE | ATTRIBUTE_OR_VALUE_EXISTS | ENTRY_ALREADY_EXISTS | UNWILLING_TO_PERFORM => {
                self.sort_out(group, part, &code).await
            }
            NO_SUCH_OBJECT | ASSERTION_FAILED => self.elsewhere(group, part, &code).await,
            OBJECT_CLASS_VIOLATION => {
                self.last_member(part, &code);
                Ok(())
            }
            STRONGER_AUTH_REQUIRED | CONFIDENTIALITY_REQUIRED | INSUFFICIENT_ACCESS_RIGHTS => {
                if self.denials >= DENIALS {
                    self.fail(&part, || code.error());
                    return Ok(());
                }
                self.denials += u32::from(part.wishes.len() == 1);
                self.divide(part, || code.error());
                Ok(())
            }
            REFERRAL | UNAVAILABLE_CRITICAL_EXTENSION | BUSY => {
                self.fail(&part, || code.error());
                Err(code.error().into())
            }
            UNAVAILABLE => {
                // It may be another server that is, to which this one had passed the change on.
                self.fail(&part, || code.error().with_unknown_outcome(true));
                Err(code.error().into())
            }
            TIME_LIMIT_EXCEEDED | OTHER => self.perhaps_done(group, part, &code).await,
            // Too much at once, or something wrong with one of them.
            _ => {
                self.divide(part, || code.error());
                Ok(())
            }
        }
    }

    /// Goes on with a part whose group is not where it had been.
    async fn elsewhere<G: ChangedGroup>(
        &mut self,
        group: &mut G,
        part: Part,
        code: &Code,
    ) -> Result<(), Stop> {
        match group.find_again().await? {
            Whereabouts::Gone => {
                self.parts.push(part);
                self.gone();
            }
            Whereabouts::Moved => self.again(part),
            Whereabouts::Same => self.divide(part, || code.error()),
        }
        Ok(())
    }

    /// Goes on with a part that failed for a reason of the server's own: what it passed on to another one may have happened.
    async fn perhaps_done<G: ChangedGroup>(
        &mut self,
        group: &mut G,
        part: Part,
        code: &Code,
    ) -> Result<(), Stop> {
        let wishes: Vec<_> = part.wishes.iter().map(|&wish| &self.wishes[wish]).collect();
        let present = match group.present(&wishes).await {
            Ok(present) => present,
            Err(error) => {
                return Err(Stop {
                    error: error.with_unknown_outcome(true),
                    sent: Some(part),
                });
            }
        };
        let fulfilled = |(wish, present): (&&Wish, bool)| wish.add == present;
        if present.is_none_or(|present| wishes.iter().zip(present).all(fulfilled)) {
            self.fail(&part, || code.error().with_unknown_outcome(true));
        } else {
            part.wishes.iter().for_each(|&wish| self.open[wish] = true);
            self.divide(part, || code.error());
        }
        Ok(())
    }

    /// Leaves out of a part what is as wished already, and tries the rest again.
    async fn sort_out<G: ChangedGroup>(
        &mut self,
        group: &mut G,
        part: Part,
        code: &Code,
    ) -> Result<(), Stop> {
        let wishes: Vec<_> = part.wishes.iter().map(|&wish| &self.wishes[wish]).collect();
        let Some(present) = group.present(&wishes).await? else {
            return self.elsewhere(group, part, code).await;
        };
        let mut rest = Vec::with_capacity(part.wishes.len());
        for (&wish, present) in part.wishes.iter().zip(present) {
            if present == self.wishes[wish].add {
                // Whoever fulfilled it may have done so for us.
                let open = self.open[wish];
                self.results[wish] = Some(if open {
                    Err(code.error().with_unknown_outcome(true))
                } else {
                    Ok(false)
                });
            } else {
                rest.push(wish);
            }
        }
        let settled = part.wishes.len() - rest.len();
        let in_doubt = self
            .placeholder
            .as_ref()
            .is_some_and(|placeholder| placeholder.present.is_none());
        let part = Part {
            wishes: rest,
            insert_placeholder: false,
            ..part
        };
        // Where a single wish fits what is there, others have changed it between the two answers.
        let tells = code.number != UNWILLING_TO_PERFORM;
        if settled > 0 || tells && (in_doubt || part.wishes.len() == 1) {
            self.again(part);
        } else {
            self.divide(part, || code.error());
        }
        Ok(())
    }

    fn last_member(&mut self, part: Part, code: &Code) {
        let only_removes = part.wishes.iter().all(|&wish| !self.wishes[wish].add);
        if only_removes && self.placeholder.is_some() && !part.insert_placeholder {
            self.again(Part {
                insert_placeholder: true,
                ..part
            });
            return;
        }
        let refused = only_removes && self.placeholder.is_none();
        self.divide(part, || {
            if refused {
                last_member_stays(code)
            } else {
                code.error()
            }
        });
    }

    /// Halves a part; one that has a single wish fails.
    fn divide(&mut self, mut part: Part, error: impl Fn() -> Error) {
        if part.wishes.len() < 2 {
            return self.fail(&part, error);
        }
        let second = part.wishes.split_off(part.wishes.len() / 2);
        for wishes in [second, part.wishes] {
            self.parts.push(Part {
                wishes,
                ..Part::default()
            });
        }
    }

    fn again(&mut self, part: Part) {
        if !part.wishes.is_empty() {
            let tries = part.tries + 1;
            self.parts.push(Part { tries, ..part });
        }
    }

    fn fail(&mut self, part: &Part, error: impl Fn() -> Error) {
        part.wishes
            .iter()
            .for_each(|&wish| self.results[wish] = Some(Err(error())));
    }

    /// Fails a part of which nothing was sent by now, or nothing but what another server may have carried out.
    fn leave(&mut self, part: &Part, error: &Error) {
        for &wish in &part.wishes {
            let error = error.copy().with_unknown_outcome(self.open[wish]);
            self.results[wish] = Some(Err(error));
        }
    }

    fn gone(&mut self) {
        for part in std::mem::take(&mut self.parts) {
            for wish in part.wishes {
                let result = if self.wishes[wish].add {
                    Err(no_group())
                } else {
                    Ok(false)
                };
                self.results[wish] = Some(result);
            }
        }
    }

    fn stop(&mut self, stop: Stop) {
        if let Some(part) = &stop.sent {
            self.fail(part, || stop.error.copy());
        }
        for part in std::mem::take(&mut self.parts) {
            self.leave(&part, &stop.error);
        }
        for (result, &open) in self.results.iter_mut().zip(&self.open) {
            result.get_or_insert_with(|| Err(stop.error.copy().with_unknown_outcome(open)));
        }
    }

    /// Whether a part that adds members has a placeholder to take out.
    async fn takes_placeholder<G: ChangedGroup>(&mut self, group: &mut G, part: &Part) -> Result<bool, Stop> {
        let Some(placeholder) = &mut self.placeholder else {
            return Ok(false);
        };
        if !part.wishes.iter().any(|&wish| self.wishes[wish].add) {
            return Ok(false);
        }
        if placeholder.present.is_none() {
            let present = group.present(&[&placeholder.wish]).await?;
            placeholder.present = present.map(|present| present.first() == Some(&true));
        }
        Ok(placeholder.present == Some(true))
    }

    fn request(&self, part: &Part, takes_placeholder: bool) -> Request {
        let mut request = Request::default();
        for &wish in &part.wishes {
            let wish = &self.wishes[wish];
            let values = if wish.add {
                &mut request.add
            } else {
                &mut request.delete
            };
            values.extend(wish.values.iter().cloned());
        }
        let placeholder = self
            .placeholder
            .iter()
            .flat_map(|placeholder| &placeholder.wish.values);
        if takes_placeholder {
            request.delete.extend(placeholder.cloned());
        } else if part.insert_placeholder {
            request.add.extend(placeholder.cloned());
        }
        request
    }
}

/// All wishes, the additions first, in parts that any server takes; the last part is the first to be tried.
fn first_parts(wishes: &[Wish]) -> Vec<Part> {
    let additions = (0..wishes.len()).filter(|&wish| wishes[wish].add);
    let removals = (0..wishes.len()).filter(|&wish| !wishes[wish].add);
    let (mut parts, mut bytes) = (vec![Part::default()], 0);
    for wish in additions.chain(removals) {
        let more: usize = wishes[wish].values.iter().map(Vec::len).sum();
        if bytes > 0 && bytes + more > REQUEST_BYTES {
            parts.push(Part::default());
            bytes = 0;
        }
        bytes += more;
        if let Some(part) = parts.last_mut() {
            part.wishes.push(wish);
        }
    }
    parts.retain(|part| !part.wishes.is_empty());
    parts.reverse();
    parts
}

pub(super) fn no_group() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "there is no such group; it was deleted, or is outside of the base for groups",
    )
}

fn last_member_stays(code: &Code) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!(
            "{code}; if he is the last member, whom the schema demands, add another one first, delete the group, or let a \
             placeholder take his place (`LastMember::Placeholder`)"
        ),
    )
}

#[cfg(test)]
mod tests;
