//! Several programs over one PostgreSQL. The test command starts that server and says where it is;
//! with `--without postgres` it leaves these tests out, by the name of this module.

mod killed;
mod log;
mod paused;
mod place;
mod turns;
