//! A plan for people: as a table for terminals, as Markdown, and as one page of HTML.
//!
//! All names come from systems that are not trusted. What cannot be seen, or changes how its surroundings look, is shown
//! as an escape; each rendering then escapes what has a meaning in its own language.

mod html;
mod markdown;
mod table;
mod view;

pub use html::render_html;
pub use markdown::render_markdown;
pub use table::render_table;

/// How much of a plan is shown, and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// How many containers are listed; the others are counted.
    pub containers: usize,
    /// How many entries are listed per list; the others are counted.
    pub entries: usize,
    /// The columns of the terminal.
    pub width: u16,
}

impl Default for RenderOptions {
    /// 100 containers with lists of up to 50 entries, 100 columns wide.
    fn default() -> Self {
        Self {
            containers: 100,
            entries: 50,
            width: 100,
        }
    }
}
