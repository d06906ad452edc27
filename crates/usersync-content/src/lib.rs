//! iCalendar and vCard text (RFC 5545, RFC 6350, and vCard 3.0 of RFC 2426), compared by meaning and edited line by line.
//!
//! Servers refold lines, reorder properties, change the case of names, spell out defaults and write their own stamps. None of
//! that is a change: a [`Document`]'s [`Outline`] is equal for texts that say the same. What did change between two outlines
//! are [`Changes`], and [`Document::patched`] carries exactly these into another text: every other line stays byte for byte,
//! whether this crate understands it or not.
//!
//! ```
//! use usersync_content::Document;
//!
//! let before = b"BEGIN:VCARD\r\nVERSION:4.0\r\nUID:1\r\nFN:Ada Sample\r\nTEL:+1 555 0100\r\nEND:VCARD\r\n";
//! let after = b"BEGIN:VCARD\nVERSION:4.0\nUID:1\nTEL:+1 555 0199\nFN:Ada\n  Sample\nEND:VCARD\n";
//! let elsewhere = b"BEGIN:VCARD\r\nVERSION:4.0\r\nUID:1\r\nFN:Ada Sample\r\nX-SHOE-SIZE:38\r\nTEL:+1 555 0100\r\nEND:VCARD\r\n";
//! let (before, after) = (Document::parse(before)?, Document::parse(after)?);
//!
//! let changes = after.outline().changes_since(&before.outline());
//! assert_eq!(changes.to_string(), "TEL");
//! let patched = Document::parse(elsewhere)?.patched(&after, &changes);
//! assert_eq!(
//!     String::from_utf8_lossy(&patched),
//!     "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:1\r\nFN:Ada Sample\r\nX-SHOE-SIZE:38\r\nTEL:+1 555 0199\r\nEND:VCARD\r\n",
//! );
//! # Ok::<(), usersync_content::ContentError>(())
//! ```
//!
//! What is not compared: `PRODID`, `VERSION`, `CALSCALE`, `METHOD`, `DTSTAMP`, `CREATED`, `LAST-MODIFIED`, `SEQUENCE`, `REV`, empty
//! properties, and definitions of time zones whose name is one of the IANA database. Text is compared without its escapes,
//! lists of values and parameters without their order.

mod canonical;
mod document;
mod error;
mod line;
mod outline;
mod patch;
mod write;

pub use document::{Document, Format};
pub use error::{ContentError, ContentErrorKind};
pub use outline::{Changes, Outline};
