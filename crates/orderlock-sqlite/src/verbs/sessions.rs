//! Sessions: how a node says that it is alive, and what ends when it is not.

use std::collections::HashSet;

use orderlock_core::Secret;
use orderlock_core::store::{Join, Joined, Leave, Left, Renew, Renewed, Sweep, Swept};

use crate::file::error::Fault;
use crate::state::context::WriteContext;
use crate::state::leases::Session;

/// Begins a session and ends every other one of the same node.
pub(crate) fn join(context: &mut WriteContext<'_>, request: &Join) -> Result<Joined, Fault> {
    let secret = keep_secret(context, request)?;
    for (id, session) in context.view.sessions() {
        if *session.node == *request.node && id != request.session {
            context.stage_session(id, None);
            context.void(usize::MAX, |held| held.lease().session == id);
        }
    }
    // A repeated join is the same session: its leases keep their age.
    let renewals = context
        .session(request.session)
        .map_or(0, |session| session.renewals);
    let session = Session {
        node: request.node.as_str().into(),
        length: request.length,
        deadline: context.now.instant.checked_add(request.length),
        renewals,
    };
    context.stage_session(request.session, Some(session));
    Ok(Joined { secret })
}

/// The first node's secret stays for ever: every key in the file is hashed under it.
fn keep_secret(context: &WriteContext<'_>, request: &Join) -> Result<Secret, Fault> {
    let kept: Option<[u8; 32]> =
        context
            .connection
            .query_row("SELECT secret FROM store", [], |row| row.get(0))?;
    if let Some(secret) = kept {
        return Ok(Secret::new(secret));
    }
    context
        .connection
        .execute("UPDATE store SET secret = ?1", [request.secret.expose()])?;
    Ok(request.secret.clone())
}

/// Extends a session, and voids those of its leases that its node never heard of: granted before
/// the last renewal, and still not known.
pub(crate) fn renew(context: &mut WriteContext<'_>, request: &Renew) -> Result<Renewed, Fault> {
    let Some(session) = context.session(request.session) else {
        return Ok(Renewed::Ended);
    };
    let known: HashSet<_> = request.known.iter().copied().collect();
    context.void(usize::MAX, |held| {
        let lease = held.lease();
        lease.session == request.session
            && held.renewals < session.renewals
            && !known.contains(&lease.fence)
    });
    let extended = Session {
        deadline: context.now.instant.checked_add(session.length),
        renewals: session.renewals.saturating_add(1),
        ..session
    };
    context.stage_session(request.session, Some(extended));
    let voided = context.view.leases.broken_of(request.session, &known);
    Ok(Renewed::Extended { voided })
}

/// Ends a session.
pub(crate) fn leave(context: &mut WriteContext<'_>, request: &Leave) -> Result<Left, Fault> {
    if context.session(request.session).is_some() {
        context.stage_session(request.session, None);
    }
    let (voided, _) = context.void(usize::MAX, |held| held.lease().session == request.session);
    Ok(Left { voided })
}

/// Ends the sessions that are lapsed now, and removes leases of ended sessions, at most so many.
/// Those that are left over count as free already.
pub(crate) fn sweep(context: &mut WriteContext<'_>, request: &Sweep) -> Result<Swept, Fault> {
    for (id, session) in context.view.sessions() {
        if session.lapsed(context.now.instant) {
            context.stage_session(id, None);
        }
    }
    let alive: HashSet<_> = context
        .view
        .sessions()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let (voided, more) = context.void(request.limit, |held| !alive.contains(&held.lease().session));
    Ok(Swept { voided, more })
}
