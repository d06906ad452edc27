//! The traits of the systems that `usersync` synchronizes, and what goes with them: the error, capabilities, adapters
//! for simple hosts, and wrappers for any connector.
//!
//! Each trait states its contract as numbered points under "Behavior"; the conformance suite of `usersync-testkit`
//! checks them one by one.

mod account;
pub mod adapt;
mod clock;
mod context;
mod directory;
mod error;
mod host;
mod item;
mod membership;
mod read;
mod reader;
mod record;
#[cfg(test)]
mod test_clock;
mod token;
pub mod wrap;

pub use account::{Account, AccountCapabilities, AccountDirectory, AccountEntry};
pub use clock::Clock;
pub use context::{Actor, Authority, CallContext};
pub use directory::{Directory, DirectoryCapabilities};
pub use error::{Error, ErrorKind, Result, Retry};
pub use host::{ActorDirectory, ActorState, EntitlementSource, News, Notification, Notifier, Recipient};
pub use item::{
    Item, ItemCapabilities, ItemChange, ItemCollection, ItemEntry, ItemOperation, ItemRead, ItemStore,
};
pub use membership::{
    Applied, ContainerCatalog, MemberChange, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    Precondition, PresentMember, TargetCapabilities, Version,
};
pub use read::{Cursor, Extent, ReadEnd, ReadEvent, ReadStream};
pub use reader::{CHUNK_ENTRIES, Reader, failed_read, read_stream};
pub use record::{
    PresentRecord, RecordCapabilities, RecordChange, RecordEntry, RecordOperation, RecordRead, RecordRequest,
    RecordTarget,
};
pub use token::{Secret, Token, TokenKey, TokenStore};
