//! Operators: they break leases and decide about marks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use orderlock_core::store::{BreakLease, Broken, Leases, Read};
use orderlock_core::{
    LeaseView, LeaseViewState, OrderStore as _, Outcome, Problem, Resolution, ResolveRequest,
    Tenant,
};
use orderlock_simulator::tally::Tally;

use crate::ledger::lock;
use crate::scene::Scene;
use crate::stores::Struck;
use crate::tale::{Tale, operator};

/// Decides about marks all the time, so that orders go on also while no such act is dealt.
pub(crate) async fn operate(scene: Arc<Scene>) {
    loop {
        scene.pause(Duration::from_millis(400)).await;
        let settles = scene.dice().chance(5_000);
        let _decided = decide(&scene, settles).await;
    }
}

/// Some lease or mark of an order that clients work on, in this state.
async fn some(scene: &Arc<Scene>, state: LeaseViewState) -> Option<(Arc<Tale>, LeaseView)> {
    let node = scene.some_node()?;
    let store = Arc::clone(node.lifecycle.store());
    let request = Leases {
        tenant: Tenant::single(),
        limit: 60,
        cursor: None,
    };
    let page = node.serve(async move { store.leases(request).await });
    let page = page.await?.ok()?;
    let mut found: Vec<_> = page
        .items
        .into_iter()
        .filter(|lease| lease.state == state)
        .filter_map(|lease| Some((scene.tale(&lease.target.order)?, lease)))
        .collect();
    let at = scene.dice().below(found.len());
    (!found.is_empty()).then(|| found.swap_remove(at))
}

pub(super) async fn break_lease(scene: &Arc<Scene>) -> Struck {
    let Some((tale, lease)) = some(scene, LeaseViewState::Held).await else {
        return Ok(None);
    };
    let _working = tale.work();
    let node = scene.some_node().context("no node runs")?;
    let store = Arc::clone(node.lifecycle.store());
    let request = BreakLease {
        tenant: Tenant::single(),
        lease: lease.id,
        actor: operator(),
        reason: "planned".into(),
    };
    let broken = node.serve(async move { store.break_lease(request).await });
    let broken = broken.await.context("the node has vanished")??;
    let order = &tale.order;
    Ok(matches!(broken, Broken::Broken(_)).then(|| format!("of {order}")))
}

/// Decides about some open mark.
pub(super) async fn decide(scene: &Arc<Scene>, settles: bool) -> Struck {
    let Some((tale, mark)) = some(scene, LeaseViewState::Marked).await else {
        return Ok(None);
    };
    let _working = tale.work();
    let done = resolve(scene, &tale, &mark, settles).await;
    let order = &tale.order;
    Ok(done.unwrap_or(false).then(|| format!("of {order}")))
}

/// Decides about the mark of one order, if one is open.
pub(crate) async fn settle_marks(scene: &Arc<Scene>, tale: &Arc<Tale>) {
    let Some(node) = scene.some_node() else {
        return;
    };
    let (store, target) = (Arc::clone(node.lifecycle.store()), tale.target());
    let view = node.serve(async move { store.read(Read { target }).await });
    let lease = match view.await {
        Some(Ok(Some(view))) => view.lease,
        _ => return,
    };
    if let Some(mark) = lease.filter(|lease| lease.state == LeaseViewState::Marked) {
        let settles = scene.dice().chance(5_000);
        let _done = resolve(scene, tale, &mark, settles).await;
    }
}

async fn resolve(
    scene: &Arc<Scene>,
    tale: &Arc<Tale>,
    mark: &LeaseView,
    settles: bool,
) -> Option<bool> {
    let name = {
        let book = lock(&tale.book);
        book.names.get(&mark.key_id?).cloned()
    };
    let name = name?;
    let node = scene.some_node()?;
    let resolution = if settles && scene.dice().chance(5_000) {
        let (store, target) = (Arc::clone(node.lifecycle.store()), tale.target());
        let view = node.serve(async move { store.read(Read { target }).await });
        let view = view.await?.ok()??;
        let order = view.document.decode::<Tally>().ok()?;
        let expected = view.version;
        (
            Some(expected),
            Resolution::Settle(Outcome::Applied(order.with_effect(&name))),
        )
    } else if settles {
        let refusal = Problem::new(409, "planned", "Planned");
        (None, Resolution::Settle(Outcome::Refused(refusal)))
    } else {
        lock(&tale.cleared).insert(name);
        (None, Resolution::RunAgain)
    };
    let request = ResolveRequest {
        target: tale.target(),
        mark: mark.id.clone(),
        resolution: resolution.1,
        expected: resolution.0,
        actor: operator(),
        // So that nobody takes another one's decision for a repeat of its own.
        reason: format!("planned, {}", scene.tick()),
    };
    let lifecycle = node.lifecycle.clone();
    let resolved = node.serve(async move { lifecycle.resolve(request).await });
    Some(resolved.await?.is_ok())
}
