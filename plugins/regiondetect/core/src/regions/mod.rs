//! Where in a frame it pays to look: Frigate's square regions and clusters, and the [`Planner`] that makes the fewest
//! model inputs of them.

mod boxes;
mod cluster;
mod cover;
mod fuzz;
mod layout;
mod memory;
mod plan;
mod planner;
mod scan;
mod settings;
mod square;

pub use boxes::{area, box_inside, box_overlaps, clipped, intersection, iou, reduce_boxes};
pub use cluster::{cluster_boundary, cluster_candidates, cluster_region};
pub use fuzz::fuzz;
pub use plan::{Deferred, Input, Look, Placement, Plan, Reason, WatchedTrack};
pub use planner::Planner;
pub use settings::PlanSettings;
pub use square::calculate_region;
