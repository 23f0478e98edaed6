//! Tells the plugin the commit and date it was built from.

fn main() {
    gst_plugin_version_helper::info()
}
