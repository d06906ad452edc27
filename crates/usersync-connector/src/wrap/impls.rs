//! Every trait of a connector, for whatever is wrapped.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_license::{Entitlement, Quantities};
use usersync_model::{
    Container, ContainerRef, Digest, DirectoryChange, ObjectId, PrincipalRef, RecordRef, SystemId, TenantId,
};

use super::Wrapped;
use super::call::Place;
use super::retry::Effect;
use crate::account::{AccountCapabilities, AccountDirectory, AccountEntry};
use crate::context::CallContext;
use crate::directory::{Directory, DirectoryCapabilities};
use crate::error::Result;
use crate::host::{ActorDirectory, ActorState, EntitlementSource, Notification, Notifier};
use crate::item::{Item, ItemCapabilities, ItemCollection, ItemEntry, ItemOperation, ItemRead, ItemStore};
use crate::membership::{
    Applied, ContainerCatalog, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, TargetCapabilities,
};
use crate::read::{Cursor, ReadStream};
use crate::record::{
    PresentRecord, RecordCapabilities, RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget,
};
use crate::subscription::{BookingChange, SubscriptionAdmin, Subscriptions};
use crate::token::{Secret, Token, TokenKey, TokenStore};

impl<C: Directory + ?Sized> Directory for Wrapped<C> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.inner.capabilities()
    }

    fn filter(&self) -> Option<Digest> {
        self.inner.filter()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.stream(Some(self.inner.system()), "read", move || {
            inner.read(since.clone(), &context)
        })
    }
}

#[async_trait]
impl<C: MembershipRead + ?Sized> MembershipRead for Wrapped<C> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.inner.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.stream(Some(self.inner.system()), "members", move || {
            inner.members(containers.clone(), &context)
        })
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let place = Place::new(Some(self.inner.system()), "member");
        self.layers
            .call(place, Effect::Read, || {
                self.inner.member(container, principal, context)
            })
            .await
    }
}

#[async_trait]
impl<C: MembershipTarget + ?Sized> MembershipTarget for Wrapped<C> {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let place = Place::new(Some(self.inner.system()), "apply");
        self.layers
            .batch(place, Effect::Write, operations, |operations| async move {
                self.inner.apply(container, &operations, context).await
            })
            .await
    }
}

#[async_trait]
impl<C: RecordRead + ?Sized> RecordRead for Wrapped<C> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> RecordCapabilities {
        self.inner.capabilities()
    }

    fn filter(&self) -> Option<Digest> {
        self.inner.filter()
    }

    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry> {
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.stream(Some(self.inner.system()), "records", move || {
            inner.records(request.clone(), &context)
        })
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let place = Place::new(Some(self.inner.system()), "record");
        self.layers
            .call(place, Effect::Read, || self.inner.record(collection, id, context))
            .await
    }
}

#[async_trait]
impl<C: RecordTarget + ?Sized> RecordTarget for Wrapped<C> {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let place = Place::new(Some(self.inner.system()), "apply");
        self.layers
            .batch(place, Effect::Write, operations, |operations| async move {
                self.inner.apply(collection, &operations, context).await
            })
            .await
    }
}

#[async_trait]
impl<C: ItemRead + ?Sized> ItemRead for Wrapped<C> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> ItemCapabilities {
        self.inner.capabilities()
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        context: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        let collection = collection.clone();
        self.stream(Some(self.inner.system()), "items", move || {
            inner.items(&collection, since.clone(), &context)
        })
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        context: &CallContext,
    ) -> Result<Option<Item>> {
        let place = Place::new(Some(self.inner.system()), "find");
        self.layers
            .call(place, Effect::Read, || self.inner.find(collection, uid, context))
            .await
    }

    async fn now(&self, context: &CallContext) -> Result<Option<DateTime<Utc>>> {
        let place = Place::new(Some(self.inner.system()), "now");
        self.layers
            .call(place, Effect::Read, || self.inner.now(context))
            .await
    }
}

#[async_trait]
impl<C: ItemStore + ?Sized> ItemStore for Wrapped<C> {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let place = Place::new(Some(self.inner.system()), "apply");
        self.layers
            .batch(place, Effect::Write, operations, |operations| async move {
                self.inner.apply(collection, &operations, context).await
            })
            .await
    }
}

impl<C: AccountDirectory + ?Sized> AccountDirectory for Wrapped<C> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> AccountCapabilities {
        self.inner.capabilities()
    }

    fn accounts(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<AccountEntry> {
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.stream(Some(self.inner.system()), "accounts", move || {
            inner.accounts(since.clone(), &context)
        })
    }
}

impl<C: ContainerCatalog + ?Sized> ContainerCatalog for Wrapped<C> {
    fn containers(&self, only: Option<Vec<ContainerRef>>, context: &CallContext) -> ReadStream<Container> {
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.stream(None, "containers", move || {
            inner.containers(only.clone(), &context)
        })
    }
}

#[async_trait]
impl<C: ActorDirectory + ?Sized> ActorDirectory for Wrapped<C> {
    async fn state(&self, tenant: &TenantId, principal: &PrincipalRef) -> Result<ActorState> {
        self.layers
            .call(Place::new(None, "state"), Effect::Read, || {
                self.inner.state(tenant, principal)
            })
            .await
    }
}

#[async_trait]
impl<C: Notifier + ?Sized> Notifier for Wrapped<C> {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        self.layers
            .call(Place::new(None, "notify"), Effect::Write, || {
                self.inner.notify(notification)
            })
            .await
    }
}

#[async_trait]
impl<C: EntitlementSource + ?Sized> EntitlementSource for Wrapped<C> {
    async fn entitlement(&self, tenant: &TenantId) -> Result<Entitlement> {
        self.layers
            .call(Place::new(None, "entitlement"), Effect::Read, || {
                self.inner.entitlement(tenant)
            })
            .await
    }
}

#[async_trait]
impl<C: Subscriptions + ?Sized> Subscriptions for Wrapped<C> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    async fn booked(&self, organisation: &ObjectId, context: &CallContext) -> Result<Quantities> {
        let place = Place::new(Some(self.inner.system()), "booked");
        self.layers
            .call(place, Effect::Read, || self.inner.booked(organisation, context))
            .await
    }
}

#[async_trait]
impl<C: SubscriptionAdmin + ?Sized> SubscriptionAdmin for Wrapped<C> {
    async fn adjust(
        &self,
        organisation: &ObjectId,
        change: &BookingChange,
        context: &CallContext,
    ) -> Result<Applied> {
        let place = Place::new(Some(self.inner.system()), "adjust");
        self.layers
            .call(place, Effect::Write, || {
                self.inner.adjust(organisation, change, context)
            })
            .await
    }
}

#[async_trait]
impl<C: TokenStore + ?Sized> TokenStore for Wrapped<C> {
    async fn keep(
        &self,
        tenant: &TenantId,
        key: &TokenKey,
        secret: Secret,
        expires: Option<DateTime<Utc>>,
    ) -> Result<()> {
        self.layers
            .call(Place::new(None, "keep"), Effect::Write, || {
                self.inner.keep(tenant, key, secret.clone(), expires)
            })
            .await
    }

    async fn revoke(&self, tenant: &TenantId, key: &TokenKey) -> Result<()> {
        self.layers
            .call(Place::new(None, "revoke"), Effect::Write, || {
                self.inner.revoke(tenant, key)
            })
            .await
    }

    async fn token(&self, tenant: &TenantId, key: &TokenKey) -> Result<Token> {
        self.layers
            .call(Place::new(None, "token"), Effect::Read, || {
                self.inner.token(tenant, key)
            })
            .await
    }
}
