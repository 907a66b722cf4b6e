"""Ray actors, one thin file each: nothing here decides anything, and nothing else in the hub's data path imports ray."""
