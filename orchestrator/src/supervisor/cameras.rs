//! The owner of the table of cameras.

use super::camera::Camera;
use std::collections::BTreeMap;
use std::ops::Index;

/// The cameras, by name.
#[derive(Debug, Default)]
pub struct Cameras {
    table: BTreeMap<String, Camera>,
}

impl Cameras {
    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Camera> {
        self.table.get(name)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Camera> {
        self.table.get_mut(name)
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The names of all: those to go through while the table changes.
    pub fn names(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Camera> {
        self.table.values()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Camera> {
        self.table.values_mut()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// A camera comes.
    pub fn insert(&mut self, camera: Camera) {
        self.table.insert(camera.name.clone(), camera);
    }

    /// A camera goes.
    pub fn remove(&mut self, name: &str) -> Option<Camera> {
        self.table.remove(name)
    }

    /// The lowest place in the file of marks that none has.
    pub fn free_mark(&self) -> u32 {
        (0..)
            .find(|mark| self.iter().all(|camera| camera.mark != *mark))
            .unwrap_or_default()
    }
}

impl Index<&str> for Cameras {
    type Output = Camera;

    fn index(&self, name: &str) -> &Camera {
        &self.table[name]
    }
}
