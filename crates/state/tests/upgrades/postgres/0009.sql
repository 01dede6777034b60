UPDATE relay SET strikes = 1, struck_at = 1699990000 WHERE id = 2;
