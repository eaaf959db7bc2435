"""What several pages share: cached resources, panels, figures and the viewer."""
