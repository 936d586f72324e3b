//! What a handler asks of whoever sent the request. The types are names only: a handler has one in its signature, as in
//! `Change<may::Approve>`, and so the permission of a route is where the route's handler is.

use cluster_seed::people::Permission;

/// A permission as a type.
pub(crate) trait Permit: 'static {
    const NEEDS: Permission;
    /// The password must have been typed within the last minutes.
    const FRESH: bool = false;
}

macro_rules! permits {
    ($($name:ident),+) => {$(
        pub(crate) enum $name {}
        impl Permit for $name {
            const NEEDS: Permission = Permission::$name;
        }
    )+};
}
permits!(Account, Read, Audit, Approve, Power, Converge, Build, Administer);

/// The same for an act that cannot be undone: the password must have been typed within the last minutes.
pub(crate) type Fresh<P> = (P, Again);

pub(crate) enum Again {}

impl<P: Permit> Permit for (P, Again) {
    const NEEDS: Permission = P::NEEDS;
    const FRESH: bool = true;
}
