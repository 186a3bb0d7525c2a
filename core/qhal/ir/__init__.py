"""The canonical graph: import, export, shapes, costs, layouts."""
