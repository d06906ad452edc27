//! Calls through all layers, against tiny scripted connectors and a clock that jumps.

mod calls;
mod items;
mod ports;
mod reads;
mod trace;

use std::sync::Arc;

use usersync_model::{JobId, PrincipalRef, SystemId, TenantId};

use super::Wrapped;
use crate::context::{Actor, Authority, CallContext};
use crate::{
    AccountDirectory, ActorDirectory, ContainerCatalog, Directory, EntitlementSource, ItemRead, ItemStore,
    MembershipRead, MembershipTarget, Notifier, RecordRead, RecordTarget, SubscriptionAdmin, Subscriptions,
    TokenStore,
};

fn system() -> SystemId {
    SystemId::new("crm").unwrap()
}

fn context() -> CallContext {
    CallContext {
        tenant: TenantId::new("acme").unwrap(),
        job: JobId::new("nightly").unwrap(),
        actor: Actor {
            principal: PrincipalRef::parse("ad", "owner").unwrap(),
            authority: Authority::JobOwner,
        },
    }
}

/// A wrapped trait object is that trait again; compiling is the test.
macro_rules! stays {
    ($($port:ident)+) => {
        $(const _: fn(Wrapped<dyn $port>) -> Arc<dyn $port> = |wrapped| Arc::new(wrapped);)+
    };
}
stays!(AccountDirectory ActorDirectory ContainerCatalog Directory EntitlementSource ItemRead ItemStore);
stays!(MembershipRead MembershipTarget Notifier RecordRead RecordTarget SubscriptionAdmin Subscriptions);
stays!(TokenStore);
