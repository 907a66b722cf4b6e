"""The range: sites made of real tools in network namespaces, labelled by construction."""
