//! The tests against real files, servers and programs, in one binary so that it is linked once.

mod common;

mod bundle;
mod chart_values;
mod clients;
mod extras;
mod hostile;
mod image_archives;
mod killed;
mod lock;
mod odd;
mod odd_images;
mod odd_index;
mod odd_repository;
mod odd_servers;
mod resolve;
mod rich;
mod shelves;
mod snapshot;
mod trust;
