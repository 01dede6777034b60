UPDATE relay SET audit_at = 1700001800, audit_part = 1 WHERE id = 2;
