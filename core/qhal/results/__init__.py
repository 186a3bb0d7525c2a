"""What the verbs answer with: frozen values that know no rendering."""
