UPDATE policy SET home_terms = 'of that time';
